//! Descriptor set in, one Rust file of prost types out.
use prost::Message;
use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(descriptors), Some(target)) = (arguments.next(), arguments.next()) else {
        return Err("usage: zeroserve-protocols DESCRIPTORS TARGET".into());
    };
    let set = prost_types::FileDescriptorSet::decode(fs::read(descriptors)?.as_slice())?;
    let scratch = Path::new(&target).with_extension("generated");
    fs::create_dir_all(&scratch)?;
    prost_build::Config::new()
        .out_dir(&scratch)
        .btree_map(["."])
        .bytes(["."])
        .compile_fds(set)?;
    fs::rename(scratch.join("zeroserve.v1.rs"), &target)?;
    fs::remove_dir_all(scratch)?;
    Ok(())
}
