//! Route programs: mapped images, the cage they run in, the helpers they call, and an interpreter with the same meaning.

pub mod abi;
mod cage;
mod confining;
mod folding;
mod helpers;
pub mod image;
mod interpreter;
mod plugins;
pub mod run;
mod trap;
mod window;

#[cfg(test)]
mod plugin_tests;
#[cfg(test)]
mod tests;

pub use confining::find;
pub use helpers::matches_value;
