/// The version of DeML: what `--version` prints and reports carry.
public let demlVersion = "0.1.0"
