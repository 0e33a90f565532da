//! Route programs: mapped images, the cage they run in, the helpers they call, and an interpreter with the same meaning.

pub mod abi;
mod helpers;
pub mod image;
mod interpreter;
pub mod run;
mod trap;
mod window;

#[cfg(test)]
mod tests;

pub use helpers::matches_value;
