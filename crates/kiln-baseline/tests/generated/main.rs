//! Random functions, compiled here and by LLVM, run on the same inputs: values of every width, vectors, loops with phis
//! that change places, aggregates, calls. No operation in them is undefined for any input.

mod kinds;
mod program;
mod steps;

use std::path::{Path, PathBuf};
use std::process::Command;

use program::{FUNCTIONS, program};

/// How many programs; `KILN_GENERATED` asks for more.
const PROGRAMS: u64 = 12;

/// Calls every function with several inputs and prints what it wrote.
const DRIVER: &str = r#"
#include <stdio.h>
#include <string.h>
extern void (*const all[])(unsigned char *, unsigned char *);
/* What older run-time libraries lack: to nearest, ties to even. */
__bf16 __truncsfbf2(float from) {
  unsigned bits = __builtin_bit_cast(unsigned, from);
  bits = from != from ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
  return __builtin_bit_cast(__bf16, (unsigned short)(bits >> 16));
}
int main(void) {
  unsigned long long s = 88172645463325252ull;
  for (int f = 0; f < COUNT; f++)
    for (int round = 0; round < 6; round++) {
      unsigned char in[512], out[1024];
      memset(out, 0, sizeof out);
      for (int i = 0; i < 512; i++) {
        s ^= s << 13; s ^= s >> 7; s ^= s << 17;
        in[i] = round == 0 ? 0 : round == 1 ? 0xff : round == 2 ? (i % 64 < 2 ? s : 0) : s;
        if (round == 5 && i % 8 == 7) in[i] = 0x40;
      }
      all[f](in, out);
      printf("%d %d:", f, round);
      for (int i = 0; i < 1024; i++) if (i % 64 < 32) printf("%02x", out[i]);
      printf("\n");
    }
}
"#;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The example that writes objects, which cargo builds along with the tests.
fn compiler() -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    own.parent().and_then(Path::parent).expect("the profile's folder").join("examples/compile")
}

#[test]
fn agrees_with_llvm() {
    let folder = std::env::temp_dir().join(format!("kiln-generated-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = |name: String| folder.join(name);
    std::fs::write(path("driver.c".into()), DRIVER.replace("COUNT", &FUNCTIONS.to_string())).expect("driver");
    let driver = path("driver.o".into());
    run(Command::new("clang-22").args(["-O1", "-c"]).arg(path("driver.c".into())).arg("-o").arg(&driver));
    let programs = std::env::var("KILN_GENERATED").ok().and_then(|n| n.parse().ok()).unwrap_or(PROGRAMS);
    let first: u64 = std::env::var("KILN_GENERATED_FIRST").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut done = 0;
    for seed in first..first + programs {
        let text = program(seed);
        let ll = path(format!("{seed}.ll"));
        let bc = path(format!("{seed}.bc"));
        std::fs::write(&ll, text).expect("written");
        run(Command::new("llvm-as-22").arg(&ll).arg("-o").arg(&bc));
        let (object, left) = (path(format!("{seed}.o")), path(format!("{seed}.left")));
        let report = run(Command::new(compiler()).arg(&bc).arg("-o").arg(&object).arg("--left").arg(&left));
        done += report.split_whitespace().next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
        let mut parts = vec![object];
        let names = std::fs::read_to_string(&left).expect("list");
        if !names.is_empty() {
            let rest = path(format!("{seed}.rest.bc"));
            let functions = names.lines().map(|name| format!("--func={name}"));
            run(Command::new("llvm-extract-22").args(functions).arg(&bc).arg("-o").arg(&rest));
            let object = path(format!("{seed}.rest.o"));
            run(Command::new("llc-22")
                .args(["-O1", "-relocation-model=pic", "-filetype=obj"])
                .arg(rest)
                .arg("-o")
                .arg(&object));
            parts.push(object);
        }
        let theirs = path(format!("{seed}.llvm.o"));
        run(Command::new("llc-22")
            .args(["-O1", "-relocation-model=pic", "-filetype=obj"])
            .arg(&bc)
            .arg("-o")
            .arg(&theirs));
        let mut outputs = Vec::new();
        for objects in [parts, vec![theirs]] {
            let exe = path(format!("{seed}.exe"));
            run(Command::new("clang-22")
                .arg("-fuse-ld=lld")
                .arg(&driver)
                .args(objects)
                .args(["-lm", "-latomic"])
                .arg("-o")
                .arg(&exe));
            outputs.push(run(&mut Command::new(&exe)));
        }
        for (ours, llvm) in outputs[0].lines().zip(outputs[1].lines()) {
            assert_eq!(ours, llvm, "seed {seed}: {}", ll.display());
        }
        assert_eq!(outputs[0].lines().count(), outputs[1].lines().count());
        for file in std::fs::read_dir(&folder).expect("the folder").flatten() {
            if file.file_name().to_string_lossy().starts_with(&format!("{seed}.")) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
    assert!(
        programs < PROGRAMS || done * 10 > programs as usize * FUNCTIONS * 6,
        "only {done} functions were compiled here"
    );
    std::fs::remove_dir_all(&folder).expect("removed");
}
