//! Fuzzes one target for a while: `cargo xtask fuzz NAME [--seconds N] [--seed N] [--keep]`.

use anyhow::{Context, Result, bail, ensure};
use countersign_tests::fuzz::{Driver, Found, TARGETS, find, read_corpus};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// The largest input that is kept in a corpus, and the most of them: they are committed.
const KEPT_BYTES_MAX: usize = 4096;
const KEPT_MAX: usize = 48;

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let name = words
        .next()
        .with_context(|| format!("name one of {}", names.join(", ")))?;
    let target = find(&name)
        .with_context(|| format!("no target `{name}`; there are {}", names.join(", ")))?;
    let (mut seconds, mut seed, mut keep) = (60, 1, false);
    while let Some(word) = words.next() {
        let mut number =
            || -> Result<u64> { Ok(words.next().context("a number is missing")?.parse()?) };
        match word.as_str() {
            "--seconds" => seconds = number()?,
            "--seed" => seed = number()?,
            "--keep" => keep = true,
            other => bail!("no option `{other}`"),
        }
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpora")
        .join(&name);
    let corpus = read_corpus(&directory)?;
    let mut kept = corpus.len();
    let mut driver = Driver::new(
        target,
        corpus.into_iter().map(|(_, input)| input).collect(),
        seed,
    );
    let (began, mut inputs) = (Instant::now(), 0_u64);
    let mut out = std::io::stdout().lock();
    while began.elapsed() < Duration::from_secs(seconds) {
        inputs += 1;
        match driver.step() {
            Found::Nothing => {}
            Found::New(input, judgement) => {
                writeln!(out, "{inputs}: {judgement}")?;
                if keep && kept < KEPT_MAX && input.len() <= KEPT_BYTES_MAX {
                    fs::write(directory.join(file_name(&input)), &input)?;
                    kept += 1;
                }
            }
            Found::Panic(input) => {
                let path = directory.join(file_name(&input));
                fs::write(&path, &input)?;
                bail!("`{name}` breaks its promise on `{}`", path.display());
            }
        }
    }
    writeln!(
        out,
        "{inputs} inputs in {seconds} s, {} judgements, seed {seed}",
        driver.judgements()
    )?;
    ensure!(inputs > 0, "no input was tried");
    Ok(())
}

/// Of the content, as other fuzzers name theirs.
fn file_name(input: &[u8]) -> String {
    blake3::hash(input).to_hex().chars().take(16).collect()
}
