//! `smalti completions SHELL`: a script that completes commands, options and their values.

use crate::style;
use clap::Args;
use clap_complete::Shell;

/// Arguments of `smalti completions`.
#[derive(Args)]
#[command(after_help = "\
Once, in your shell:
  bash         mkdir -p ~/.local/share/bash-completion/completions
               smalti completions bash > ~/.local/share/bash-completion/completions/smalti
  zsh          smalti completions zsh > \"${fpath[1]}/_smalti\"
  fish         smalti completions fish > ~/.config/fish/completions/smalti.fish
  powershell   smalti completions powershell >> $PROFILE
Then start a new shell.")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Runs the command on the program's grammar.
pub fn run(args: &CompletionsArgs, mut grammar: clap::Command) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut grammar, "smalti", &mut script);
    style::say(String::from_utf8_lossy(&script).trim_end());
}
