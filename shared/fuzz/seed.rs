//! Turns the golden vectors into a corpus: `seed VECTORS CORPUS`.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let (Some(vectors), Some(corpus)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: seed VECTORS CORPUS"));
    };
    fs::create_dir_all(&corpus)?;
    let mut seeds = 0;
    for entry in fs::read_dir(vectors)? {
        let path = entry?.path();
        if let (Some(name), Some(bytes)) = (path.file_stem(), bytes(&path)?) {
            fs::write(corpus.join(name), bytes)?;
            seeds += 1;
        }
    }
    println!("{seeds} vectors in the corpus");
    Ok(())
}

/// The bytes of a vector: pairs of hexadecimal digits in the lines between `bytes:` and `fields:`.
fn bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let text = fs::read_to_string(path)?;
    let hex = text
        .split_once("\nbytes:\n")
        .and_then(|(_, rest)| rest.split_once("fields:\n"));
    let pairs = hex.map(|(hex, _)| hex.split_whitespace());
    Ok(pairs.and_then(|pairs| {
        pairs
            .map(|pair| u8::from_str_radix(pair, 16).ok())
            .collect()
    }))
}
