import Tensors

/// How a table is written: what separates fields, what a decimal point looks like. Told by its first lines.
struct CSVDialect: Sendable, Equatable {
    static let quote = UInt8(ascii: "\"")
    static let candidates: [UInt8] = [0x09, 0x3b, 0x7c, 0x2c, 0x20]

    /// A space stands for any number of spaces and tabs.
    var separator = UInt8(ascii: ",")
    var decimal = UInt8(ascii: ".")

    var separatorName: String {
        switch separator {
        case 0x09: "tab"
        case 0x20: "spaces"
        default: "'\(UnicodeScalar(separator))'"
        }
    }

    /// The separator that divides all lines but the first, which may be a title, into the same number of fields.
    ///
    /// Where several do, the one that is rarer within numbers and names goes first: tab, semicolon, bar, comma, space.
    /// Separators within quotes do not count.
    static func separator(of text: UnsafeRawBufferPointer, isWhole: Bool) -> UInt8 {
        var best: (separator: UInt8, agreeing: Double)?
        for separator in candidates {
            let counts = self.counts(of: separator, text, isWhole: isWhole)
            let rest = counts.count > 1 ? Array(counts.dropFirst()) : counts
            guard let usual = rest.max(), usual > 0 else { continue }
            let frequent = Dictionary(grouping: rest, by: { $0 }).max {
                ($0.value.count, $0.key) < ($1.value.count, $1.key)
            }
            guard let frequent, frequent.key > 0 else { continue }
            let agreeing = Double(frequent.value.count) / Double(rest.count)
            // Spaces are in texts of all kinds.
            guard separator != 0x20 || agreeing == 1 else { continue }
            if best.map({ agreeing > $0.agreeing + 0.02 }) ?? true { best = (separator, agreeing) }
        }
        return best?.separator ?? UInt8(ascii: ",")
    }

    /// How often the separator stands in each of the first lines, outside quotes.
    private static func counts(of separator: UInt8, _ text: UnsafeRawBufferPointer, isWhole: Bool) -> [Int] {
        var counts: [Int] = []
        var count = 0
        var isQuoted = false
        var isEmpty = true
        var before = UInt8(ascii: "\n")
        for byte in text {
            if byte == quote {
                isQuoted.toggle()
                isEmpty = false
            } else if !isQuoted, byte == 0x0a || byte == 0x0d {
                if !isEmpty { counts.append(separator == 0x20 && before == 0x20 ? max(0, count - 1) : count) }
                if counts.count == 200 { return counts }
                count = 0
                isEmpty = true
                before = UInt8(ascii: "\n")
                continue
            } else if !isQuoted, byte == separator || (separator == 0x20 && byte == 0x09) {
                // A run of spaces is one, and none at the beginning of a line counts.
                if separator != 0x20 || (before != 0x20 && before != 0x0a) { count += 1 }
                if separator != 0x20 { isEmpty = false }
                before = separator == 0x20 ? 0x20 : byte
                if separator == 0x20, isEmpty { before = 0x0a }
                continue
            } else {
                isEmpty = false
            }
            before = byte
        }
        // The last line of a part of a file is a part of a line.
        if !isEmpty, isWhole || counts.isEmpty {
            counts.append(separator == 0x20 && before == 0x20 ? max(0, count - 1) : count)
        }
        return counts
    }
}
