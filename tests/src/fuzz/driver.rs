//! Mutation from a corpus by a seeded generator: the same seed does the same to the same corpus.
//!
//! There is no coverage to follow on a stable compiler. What follows instead is the judgement: an input that is judged as
//! none was before joins the pool, and what is behind one refusal is tried next.

use super::Target;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The largest input that is made.
const INPUT_BYTES_MAX: usize = 16 * 1024;
/// Pieces that parsers look for.
const PIECES: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"true",
    b"-",
    b"-1",
    b"0",
    b"1e9",
    b"\\u0000",
    b"\\ud800",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\x00",
    b"\xe2\x80\x94 ",
    b"9007199254740993",
    b"18446744073709551616",
    b"sha256:",
    b"blake3:",
    b"dev.countersign.",
    b"CSJF",
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Expect: 100-continue\r\n",
    b"%2f",
    b"%00",
    b"..",
    b"index ",
    b"&amp;",
];

/// Inputs of a corpus, by name.
///
/// # Errors
/// The directory cannot be read.
pub fn read_corpus(directory: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut inputs = Vec::new();
    let entries = fs::read_dir(directory)
        .with_context(|| format!("no corpus in `{}`", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        inputs.push((path.clone(), fs::read(path)?));
    }
    inputs.sort();
    Ok(inputs)
}

/// What an input led to.
#[derive(Debug)]
pub enum Found {
    /// A judgement that was known.
    Nothing,
    /// A new judgement: the input, and what was said of it.
    New(Vec<u8>, String),
    /// A broken promise.
    Panic(Vec<u8>),
}

/// One target, its pool, and the generator.
#[derive(Debug)]
pub struct Driver {
    target: &'static Target,
    pool: Vec<Vec<u8>>,
    judged: BTreeSet<String>,
    state: u64,
}

impl Driver {
    /// Begins with a corpus; every input of it is judged.
    ///
    /// # Panics
    /// Where an input of the corpus breaks a promise.
    #[must_use]
    pub fn new(target: &'static Target, corpus: Vec<Vec<u8>>, seed: u64) -> Self {
        let judged = corpus.iter().map(|input| (target.run)(input)).collect();
        Self {
            target,
            pool: corpus,
            judged,
            state: seed,
        }
    }

    /// How many judgements are known.
    #[must_use]
    pub fn judgements(&self) -> usize {
        self.judged.len()
    }

    /// Makes one input and has it judged.
    pub fn step(&mut self) -> Found {
        let input = self.input();
        let run = self.target.run;
        match catch_unwind(AssertUnwindSafe(|| run(&input))) {
            Err(_) => Found::Panic(input),
            Ok(judgement) if self.judged.insert(judgement.clone()) => {
                self.pool.push(input.clone());
                Found::New(input, judgement)
            }
            Ok(_) => Found::Nothing,
        }
    }

    fn input(&mut self) -> Vec<u8> {
        let mut input = self.some().unwrap_or_default();
        for _ in 0..=self.below(4) {
            self.mutate(&mut input);
        }
        input.truncate(INPUT_BYTES_MAX);
        if let Some(mend) = self.target.mend
            && self.below(2) == 0
        {
            mend(&mut input);
        }
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let to = at + self.below((input.len() - at).min(64) + 1);
        let bit = 1_u8.wrapping_shl(u32::try_from(self.below(8)).unwrap_or(0));
        match self.below(8) {
            0 | 1 => input.get_mut(at).into_iter().for_each(|byte| *byte ^= bit),
            2 => drop(input.drain(at..to)),
            3 => {
                let part: Vec<u8> = input.drain(at..to).collect();
                let again = part.repeat(2);
                input.splice(at..at, again);
            }
            4 => {
                let piece = PIECES
                    .get(self.below(PIECES.len()))
                    .copied()
                    .unwrap_or_default();
                input.splice(at..at, piece.iter().copied());
            }
            5 => {
                let other = self.some().unwrap_or_default();
                let from = self.below(other.len() + 1);
                let until = from + self.below((other.len() - from).min(256) + 1);
                let part = other.get(from..until).unwrap_or_default().to_vec();
                input.splice(at..to, part);
            }
            6 => {
                let byte = u8::try_from(self.below(256)).unwrap_or(0);
                input.get_mut(at).into_iter().for_each(|old| *old = byte);
            }
            _ => self.digits(input, at),
        }
    }

    /// Another number in the place of the next one.
    fn digits(&mut self, input: &mut Vec<u8>, from: usize) {
        let digit = |byte: &u8| byte.is_ascii_digit();
        let Some(rest) = input.get(from..) else {
            return;
        };
        let Some(start) = rest.iter().position(digit) else {
            return;
        };
        let length = rest
            .iter()
            .skip(start)
            .take_while(|byte| digit(byte))
            .count();
        let number = match self.below(4) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << self.below(64),
            _ => self.next(),
        };
        let number = number.to_string().into_bytes();
        input.splice(from + start..from + start + length, number);
    }

    fn some(&mut self) -> Option<Vec<u8>> {
        let at = self.below(self.pool.len());
        self.pool.get(at).cloned()
    }

    /// A number below `end`; 0 where there is none.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
