/// Cuts a stream of bytes into lines, in time linear in the bytes and with the memory of one line.
package struct LineSplitter: Sendable {
    private let maximumLineBytes: Int
    private var pending: [UInt8] = []

    /// - Parameter maximumLineBytes: a longer line is cut to this.
    package init(maximumLineBytes: Int) {
        self.maximumLineBytes = maximumLineBytes
    }

    /// The lines that end in `bytes`, without their ends.
    package mutating func take(_ bytes: some Sequence<UInt8>) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                lines.append(pending)
                pending.removeAll(keepingCapacity: true)
            } else if pending.count < maximumLineBytes {
                pending.append(byte)
            }
        }
        return lines
    }

    /// What came after the last line end.
    package mutating func rest() -> [UInt8]? {
        defer { pending = [] }
        return pending.isEmpty ? nil : pending
    }
}
