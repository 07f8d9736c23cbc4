//! Programs of jq, run in a process of their own: `ringway filter-worker`.
//!
//! A program can loop for ever, take all memory or nest until the stack ends, and within a process
//! nothing stops it. So it runs in a child that the kernel bounds, that has no environment, and that
//! is ended when its time is over; see [`super::filter`] for the side of the gateway.

use std::io::{self, Read, Write};

use jaq_core::{
    Compiler, Ctx, Vars, data,
    load::{self, Arena, File, Loader},
};
use jaq_json::{Val, read, write};
use rustix::process::{Resource, Rlimit, setrlimit};

type Filter = jaq_core::Filter<data::JustLut<Val>>;

/// What the worker writes when it is ready; whatever comes before is not from it.
pub(super) const READY: &[u8] = b"\0ringway filter worker\n";

/// Most memory of the worker, in bytes of addresses: its program, its stack and a value that is
/// some ten times as large as the largest answer of the default settings.
const MEMORY_MAX: u64 = 1 << 30;

/// Stack of the thread that runs the programs, which recurse as deeply as their authors wrote.
const STACK_SIZE: usize = 128 << 20;

/// Programs that stay compiled.
const KEPT_COUNT_MAX: usize = 32;

/// Largest part of a job: what is larger was not written by the gateway.
const PART_SIZE_MAX: u32 = 1 << 30;

/// A program, an input, and how large the output may be.
pub(super) struct Job {
    pub(super) program: Vec<u8>,
    /// JSON; empty to check the program alone.
    pub(super) input: Vec<u8>,
    pub(super) output_size_max: u32,
}

impl Job {
    /// The job as it is sent: three numbers, the program, the input.
    pub(super) fn encode(&self) -> Vec<u8> {
        let sizes = [self.program.len() as u32, self.input.len() as u32, self.output_size_max];
        let mut out = Vec::with_capacity(12 + self.program.len() + self.input.len());
        sizes.iter().for_each(|size| out.extend_from_slice(&size.to_le_bytes()));
        out.extend_from_slice(&self.program);
        out.extend_from_slice(&self.input);
        out
    }

    /// Reads a job; `None` at the end.
    fn read(source: &mut impl Read) -> io::Result<Option<Job>> {
        let mut head = [0; 12];
        if let Err(error) = source.read_exact(&mut head) {
            let is_end = error.kind() == io::ErrorKind::UnexpectedEof;
            return if is_end { Ok(None) } else { Err(error) };
        }
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut part = |size: u32| {
            let mut bytes = vec![0; size.min(PART_SIZE_MAX) as usize];
            source.read_exact(&mut bytes).map(|()| bytes)
        };
        let (program, input) = (part(number(0))?, part(number(4))?);
        Ok(Some(Job { program, input, output_size_max: number(8) }))
    }
}

/// Serves as the worker of a gateway: reads jobs and writes answers until the input ends.
///
/// # Errors
///
/// What the system answered; the process should end then.
pub fn work() -> io::Result<()> {
    for (resource, bound) in [(Resource::As, MEMORY_MAX), (Resource::Core, 0)] {
        setrlimit(resource, Rlimit { current: Some(bound), maximum: Some(bound) })?;
    }
    let thread = std::thread::Builder::new().stack_size(STACK_SIZE);
    let served = thread.spawn(|| serve(&mut io::stdin().lock(), &mut io::stdout().lock()))?;
    served.join().unwrap_or_else(|_| Err(io::Error::other("the worker failed inside")))
}

/// Answers every job: a byte that is 0 for an output and 1 for an error, the size, the text.
fn serve(source: &mut impl Read, sink: &mut impl Write) -> io::Result<()> {
    sink.write_all(READY)?;
    sink.flush()?;
    let mut kept: Vec<(Vec<u8>, Filter)> = Vec::new();
    while let Some(job) = Job::read(source)? {
        let (mark, text) = match answer(&mut kept, &job) {
            Ok(output) => (0, output),
            Err(error) => (1, error.into_bytes()),
        };
        sink.write_all(&[mark])?;
        sink.write_all(&(text.len() as u32).to_le_bytes())?;
        sink.write_all(&text)?;
        sink.flush()?;
    }
    Ok(())
}

fn answer(kept: &mut Vec<(Vec<u8>, Filter)>, job: &Job) -> Result<Vec<u8>, String> {
    let index = match kept.iter().position(|(program, _)| *program == job.program) {
        Some(index) => index,
        None => {
            let text = std::str::from_utf8(&job.program).map_err(|error| error.to_string())?;
            let filter = compile(text)?;
            if kept.len() == KEPT_COUNT_MAX {
                kept.remove(0);
            }
            kept.push((job.program.clone(), filter));
            kept.len() - 1
        }
    };
    if job.input.is_empty() {
        return Ok(Vec::new());
    }
    run(&kept[index].1, &job.input, job.output_size_max as usize)
}

/// Compiles a program. It can import nothing.
fn compile(program: &str) -> Result<Filter, String> {
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let file = File { code: program, path: () };
    let modules = Loader::new(definitions).load(&arena, file);
    let modules = modules.map_err(|errors| {
        let error = errors.into_iter().next().map(|(_, error)| error);
        match error {
            Some(load::Error::Lex(errors)) => first(&errors, |(expected, found)| {
                format!("{} is missing before {}", expected.as_str(), near(found))
            }),
            Some(load::Error::Parse(errors)) => first(&errors, |(expected, found)| {
                format!("{} is missing before {}", expected.as_str(), near(found))
            }),
            Some(load::Error::Io(_)) => "it imports a module, and there is none".to_owned(),
            None => "it is no program of jq".to_owned(),
        }
    })?;
    let compiled = Compiler::default().with_funs(functions).compile(modules);
    compiled.map_err(|errors| {
        let undefined = errors.into_iter().next().map(|(_, undefined)| undefined);
        first(&undefined.unwrap_or_default(), |(name, kind)| {
            format!("the {} {name} is not defined", kind.as_str())
        })
    })
}

fn first<E>(errors: &[E], show: impl Fn(&E) -> String) -> String {
    errors.first().map_or_else(|| "it is no program of jq".to_owned(), show)
}

/// The beginning of what was found, or the end of the program.
fn near(found: &str) -> String {
    if found.is_empty() { "its end".to_owned() } else { format!("{:?}", shortened(found, 40)) }
}

fn shortened(text: &str, count_max: usize) -> String {
    text.chars().take(count_max).collect()
}

/// Runs a program: one output is the value, several are an array of them.
fn run(filter: &Filter, input: &[u8], size_max: usize) -> Result<Vec<u8>, String> {
    let input = read::parse_single(input).map_err(|error| error.to_string())?;
    let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
    let (mut out, mut count) = (Bounded { bytes: vec![b'['], size_max }, 0);
    for output in filter.id.run((context, input)) {
        let output = output.map_err(|exception| match exception.get_err() {
            Ok(error) => shortened(&error.to_string(), 500),
            Err(_) => "it stopped itself".to_owned(),
        })?;
        let written = if count > 0 { out.write_all(b",") } else { Ok(()) };
        let written =
            written.and_then(|()| write::write(&mut out, &write::Pp::default(), 0, &output));
        written.map_err(|_| format!("its output has more than the {size_max} bytes allowed"))?;
        count += 1;
    }
    match count {
        0 => Ok(b"null".to_vec()),
        1 => Ok(out.bytes.split_off(1)),
        _ => {
            out.bytes.push(b']');
            Ok(out.bytes)
        }
    }
}

/// A buffer that takes no more than its bound.
struct Bounded {
    bytes: Vec<u8>,
    size_max: usize,
}

impl Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + data.len() > self.size_max.saturating_add(1) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(program: &str, input: &str, output_size_max: u32) -> Result<String, String> {
        let (program, input) = (program.into(), input.into());
        let output = answer(&mut Vec::new(), &Job { program, input, output_size_max });
        output.map(|bytes| String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn one_output_is_the_value_and_several_are_a_list() {
        let input = r#"{"a":[{"b":1,"c":"x"},{"b":2}]}"#;
        for (program, expected) in [
            (".a[0].b", "1"),
            (".a[].b", "[1,2]"),
            ("[.a[].b]", "[1,2]"),
            ("empty", "null"),
            (".a | map({b}) | length", "2"),
            (".a[0] | \"\\(.c)!\" | ascii_upcase", "\"X!\""),
            ("[.a[] | select(.b > 1)] | first", r#"{"b":2}"#),
        ] {
            assert_eq!(ran(program, input, 100).as_deref(), Ok(expected), "{program}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_program() {
        for (program, expected) in [
            (".a |", "its end"),
            (".a )", ")"),
            ("nope(1)", "nope"),
            (". | $x", "$x"),
            ("import \"a\" as a; .", "imports"),
            (".a.b.c", "cannot"),
            ("halt", "stopped"),
        ] {
            let error = ran(program, "{\"a\":1}", 100).expect_err(program);
            assert!(error.contains(expected), "{program}: {error}");
        }
    }

    #[test]
    fn an_output_beyond_its_bound_is_refused_while_it_is_written() {
        assert_eq!(ran("\"abc\"", "1", 5).as_deref(), Ok("\"abc\""));
        let error = ran("\"abcd\"", "1", 5).expect_err("one too many");
        assert!(error.contains("5 bytes"), "{error}");
        let endless = ran("repeat(1)", "1", 1000).expect_err("never ends");
        assert!(endless.contains("1000 bytes"), "{endless}");
    }

    #[test]
    fn answers_jobs_one_after_the_other_until_the_input_ends() {
        let job = |program: &str, input: &str| {
            let (program, input) = (program.into(), input.into());
            Job { program, input, output_size_max: 100 }.encode()
        };
        let jobs = [job(".+1", "1"), job("(", "1"), job(".+1", "41"), job(".", "")].concat();
        let mut out = Vec::new();
        serve(&mut jobs.as_slice(), &mut out).expect("memory does not fail");
        let mut rest = out.strip_prefix(READY).expect("it says that it is ready");
        let mut answers = Vec::new();
        while let Some((head, behind)) = rest.split_at_checked(5) {
            let size = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
            answers.push((head[0], String::from_utf8(behind[..size].to_vec()).expect("text")));
            rest = &behind[size..];
        }
        let marks: Vec<u8> = answers.iter().map(|(mark, _)| *mark).collect();
        assert_eq!(marks, [0, 1, 0, 0]);
        assert_eq!((&*answers[0].1, &*answers[2].1, &*answers[3].1), ("2", "42", ""));
    }
}
