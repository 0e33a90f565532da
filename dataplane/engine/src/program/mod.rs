//! Route programs: mapped images, the cage they run in, the helpers they call, and an interpreter with the same meaning.

pub mod image;
pub mod run;
