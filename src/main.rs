//! Starts the command line.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    patina::cli::main()
}
