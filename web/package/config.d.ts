/** A part of a text; `start` and `end` are places in it as `String.slice` counts, `line` and `column` begin at 1. */
export interface Place {
  file: string;
  line: number;
  column: number;
  start: number;
  end: number;
  /** What stands there. */
  text: string;
}

/** Something wrong with a config. */
export interface Finding {
  severity: 'error' | 'warning' | 'note';
  message: string;
  help: string | null;
  /** All of it in lines, with the text and a caret below it, as the command line prints it. */
  rendered: string;
  /** Where; `label` says what is there. */
  places: (Place & { label: string })[];
  /** Changes that mend it, the likeliest first: `text` in the place of what stands there; `label` is for a button. */
  fixes: (Place & { label: string })[];
}

export interface CheckOptions {
  /** The config's own path, to which its bases are relative and whose ending (.py, .json, .yaml) says its language. Default: `config.py`. */
  name?: string;
  /** Where the module's `.wasm` is, if not beside the script. */
  wasm?: URL | string | Response | BufferSource | WebAssembly.Module;
}

/**
 * What the config language has to say of a config: syntax, values, bases. `files` has the texts of other files by their paths, for `_base_`.
 * Nothing of it is executed.
 */
export function checkConfig(text: string, files?: Record<string, string>, options?: CheckOptions): Promise<Finding[]>;
