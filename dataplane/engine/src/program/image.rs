//! Native code of one program: a sealed memfd, checked and mapped read+execute; or byte code to interpret.

pub struct Image {}
