import SHA3

/// The text of a ledger: one entry a line, JSON, each with its number and a digest.
///
///     {"amount":"0.1",…,"entry":"acceptingInvoice",…,"n":12,"check":"5f0c…"}
///
/// `check` is the beginning (16 hexadecimal digits) of the SHA3-256 of the number, a line feed and the line without both.
/// A line that was changed, lost, doubled or moved is found, and the others still count. The last line may be torn, as a
/// crash leaves it: it announces something that was not done yet. Ledgers from before have lines without number and digest
/// at their beginning.
package struct LedgerText: Sendable, Equatable {
    /// Something that is not as it was written.
    package struct Damage: Sendable, Equatable {
        /// From 1, as an editor counts.
        package var line: Int
        package var reason: String
    }

    /// What can be relied on, in order.
    package private(set) var entries: [LedgerEntry] = []
    package private(set) var damage: [Damage] = []
    /// The number of the next line.
    package private(set) var next = 1
    /// How many bytes belong to whole lines; a torn one behind them is to be cut off.
    package private(set) var wholeBytes = 0
    /// The last line has all but its line feed.
    package private(set) var lacksLineFeed = false
    private var hasDigests = false

    package init(_ bytes: [UInt8]) {
        var start = 0
        var line = 0
        while start < bytes.count {
            line += 1
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n"))
            let text = bytes[start..<(end ?? bytes.count)]
            if let end {
                take(text, line)
                wholeBytes = end + 1
                start = end + 1
            } else {
                takeLast(text, line)
                return
            }
        }
    }

    /// The line of an entry, its line feed included.
    package static func line(_ entry: LedgerEntry, number: Int) -> [UInt8] {
        var body: [UInt8] = []
        entry.json.write(to: &body)
        let check = digest(number, body[...])
        return Array(body.dropLast()) + ",\"n\":\(number),\"check\":\"\(check)\"}\n".utf8
    }

    private static func digest(_ number: Int, _ body: ArraySlice<UInt8>) -> String {
        var hash = SHA3.bits256()
        hash.update(Array("\(number)\n".utf8))
        hash.update(Array(body))
        return String(hash.hexDigest().prefix(16))
    }

    private mutating func take(_ text: ArraySlice<UInt8>, _ line: Int) {
        guard !text.isEmpty else { return }
        guard let sealed = Sealed(text) else {
            // Before the first digest a line is of an old ledger; it can only be judged by whether it can be read.
            guard !hasDigests, let entry = Self.entry(text), !Self.saysItHasADigest(text) else {
                return damaged(line, hasDigests ? "it has no digest" : "it cannot be read")
            }
            entries.append(entry)
            next = line + 1
            return
        }
        hasDigests = true
        guard sealed.check == Self.digest(sealed.number, sealed.body[...]) else {
            next = max(next, line + 1)
            return damaged(line, "its digest is not that of its text")
        }
        if sealed.number != next {
            // A damaged line before this one explains one number that is missing.
            let isExplained =
                sealed.number > next && damage.last.map { $0.line >= line - (sealed.number - next) } ?? false
            if !isExplained { damaged(line, "it has the number \(sealed.number), \(next) is expected") }
        }
        next = max(next, sealed.number + 1)
        guard let entry = Self.entry(sealed.body[...]) else {
            return damaged(line, "it was written by a newer version of this program")
        }
        entries.append(entry)
    }

    /// What stands behind the last line feed.
    private mutating func takeLast(_ text: ArraySlice<UInt8>, _ line: Int) {
        if Sealed(text) != nil {
            lacksLineFeed = true
            wholeBytes += text.count
            take(text, line)
        } else if Sealed(text.dropLast()) != nil {
            wholeBytes += text.count
            damaged(line, "it goes on behind its end")
        }
    }

    private mutating func damaged(_ line: Int, _ reason: String) {
        damage.append(Damage(line: line, reason: reason))
    }

    private static func entry(_ text: ArraySlice<UInt8>) -> LedgerEntry? {
        JSON(answer: text).flatMap { LedgerEntry($0) }
    }

    /// The first line of a ledger with digests says so, in case its own is what was damaged.
    private static func saysItHasADigest(_ text: ArraySlice<UInt8>) -> Bool {
        JSON(parsing: text)?["version"]?.int.map { $0 >= 2 } ?? false
    }

    /// A line taken apart.
    private struct Sealed {
        var body: [UInt8]
        var number: Int
        var check: String

        init?(_ text: ArraySlice<UInt8>) {
            var rest = text
            func take(_ end: String) -> Bool {
                guard rest.suffix(end.utf8.count).elementsEqual(end.utf8) else { return false }
                rest = rest.dropLast(end.utf8.count)
                return true
            }
            guard take("\"}") else { return nil }
            check = String(decoding: rest.suffix(16), as: UTF8.self)
            rest = rest.dropLast(16)
            guard check.utf8.count == 16, check.utf8.allSatisfy({ "0123456789abcdef".utf8.contains($0) }),
                take(",\"check\":\"")
            else { return nil }
            let digits = rest.reversed().prefix { (48...57).contains($0) }.count
            guard digits > 0, digits < 10, let number = Int(String(decoding: rest.suffix(digits), as: UTF8.self))
            else { return nil }
            rest = rest.dropLast(digits)
            guard take(",\"n\":") else { return nil }
            self.number = number
            body = Array(rest) + [UInt8(ascii: "}")]
        }
    }
}
