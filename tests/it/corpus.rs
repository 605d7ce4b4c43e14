//! What the fuzzer once found worth keeping is read again: no reader panics, and what holds for any
//! input holds for these.

use camino::Utf8Path;

#[path = "../../fuzz/readers.rs"]
mod readers;

#[test]
fn every_reader_stands_its_corpus() {
    for (name, reader) in readers::ALL {
        let corpus = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut read = 0;
        for entry in fs_err::read_dir(&corpus).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs_err::read(&path).unwrap();
            // The fuzzer starts from these, and from all that one bit makes of them.
            for at in (0..bytes.len() * 8).step_by(bytes.len() * 8 / 256 + 1) {
                let mut other = bytes.clone();
                other[at / 8] ^= 1 << (at % 8);
                reader(&other);
            }
            reader(&bytes);
            read += 1;
        }
        assert!(read > 0, "there is no corpus of {name}");
    }
}
