#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A line on stdout, at once.
func say(_ line: String) {
    write(line, to: STDOUT_FILENO)
}

/// One line on stderr.
func complain(_ text: String) {
    write("deml-worker: " + text.split(separator: "\n").joined(separator: " "), to: STDERR_FILENO)
}

/// Ends the process. A name of its own, because commands have an `exit` too.
func end(with code: Int32) -> Never {
    exit(code)
}

/// Writes a line at once. Nobody may be there to read it, which is no reason to stop.
private func write(_ line: String, to file: Int32) {
    var bytes = Array((line + "\n").utf8)[...]
    while !bytes.isEmpty {
        let count = bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { return }
        bytes = bytes.dropFirst(count)
    }
}
