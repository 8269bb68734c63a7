/// Text that somebody else wrote (a provider's name, what its program printed, a reason, a message, a key of a file) made
/// ours: safe to print, to log and to put into a table, and of a bounded length.
///
/// A terminal obeys what it is sent: escape sequences repaint it, rename its window, answer for the person before it;
/// bidirectional and invisible characters make a text read as what it is not. So text is cleaned once, where it enters,
/// and nothing that prints it need think of it.
///
/// * An escape sequence (CSI, OSC, DCS and the others of ECMA-48) becomes one "�", its parameters included; any other
///   control character (C0, C1), bidirectional control, zero-width or invisible character becomes "�" as well.
/// * Lines end with "\n" whatever they ended with before; in a text of one line the ends of lines, and tabs, become blanks.
/// * What is longer than allowed is cut and ends in "…".
///
/// Cleaning a text that is clean changes nothing.
public enum ForeignText {
    /// One line of at most `limit` scalars: names, reasons, messages.
    public static func line(_ text: some StringProtocol, limit: Int = 500) -> String {
        clean(text.unicodeScalars, limit: limit, keepsLines: false)
    }

    /// Any number of lines, of at most `limit` scalars together: what a program printed.
    public static func lines(_ text: some StringProtocol, limit: Int = 1 << 20) -> String {
        clean(text.unicodeScalars, limit: limit, keepsLines: true)
    }

    /// The same for bytes that should be UTF-8; what is not becomes "�".
    public static func lines(bytes: some Collection<UInt8>, limit: Int = 1 << 20) -> String {
        lines(String(decoding: bytes, as: UTF8.self), limit: limit)
    }

    public static func line(bytes: some Collection<UInt8>, limit: Int = 500) -> String {
        line(String(decoding: bytes, as: UTF8.self), limit: limit)
    }

    /// In quotes, for a message that must show exactly what is there: `'a\u{1b}[2J'`.
    public static func quoted(_ text: some StringProtocol, limit: Int = 80) -> String {
        var result = "'"
        for (index, scalar) in text.unicodeScalars.enumerated() {
            if index == limit {
                result += "…"
                break
            }
            if isHarmful(scalar) {
                result += "\\u{" + String(scalar.value, radix: 16) + "}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result + "'"
    }

    /// Whether a scalar does something else than to be shown where it stands: the ends of lines and tabs too.
    public static func isHarmful(_ scalar: Unicode.Scalar) -> Bool {
        // Nearly all text is ASCII.
        if scalar.value < 0x7F { return scalar.value < 0x20 }
        switch scalar.value {
        case 0x7F...0x9F,  // delete, C1
            0xAD, 0x34F, 0x61C, 0x115F...0x1160, 0x17B4...0x17B5, 0x180B...0x180F,  // invisible
            0x200B...0x200F,  // zero width, marks of direction
            0x2028...0x202E,  // separators of lines and paragraphs, embeddings and overrides of direction
            0x2060...0x206F,  // invisible operators, isolates of direction
            0x3164, 0xFEFF, 0xFFA0, 0xFFF0...0xFFFB, 0xFFFE...0xFFFF,
            0x1BCA0...0x1BCA3, 0x1D173...0x1D17A, 0xE0000...0xE0FFF:  // invisible, tags
            return true
        default:
            return false
        }
    }

    private static func clean(
        _ scalars: some BidirectionalCollection<Unicode.Scalar>, limit: Int, keepsLines: Bool
    ) -> String {
        var result = String.UnicodeScalarView()
        var count = 0
        var index = scalars.startIndex
        while index < scalars.endIndex {
            let scalar = scalars[index]
            guard count < limit else {
                if limit > 0 { result.append("…") }
                break
            }
            count += 1
            scalars.formIndex(after: &index)
            guard isHarmful(scalar) else {
                result.append(scalar)
                continue
            }
            switch scalar {
            case "\r", "\n", "\u{85}", "\u{2028}", "\u{2029}", "\u{B}", "\u{C}":
                if scalar == "\r", index < scalars.endIndex, scalars[index] == "\n" { scalars.formIndex(after: &index) }
                result.append(keepsLines ? "\n" : " ")
            case "\t":
                result.append(keepsLines ? "\t" : " ")
            default:
                if let end = endOfSequence(scalar, scalars[index...]) { index = end }
                result.append("\u{FFFD}")
            }
        }
        return String(result)
    }

    /// Where the escape sequence that `first` begins ends, given what follows; `nil` when it begins none. A sequence that
    /// is never ended ends with its line, so that it hides nothing of what comes later.
    private static func endOfSequence<Rest: Collection<Unicode.Scalar>>(
        _ first: Unicode.Scalar, _ rest: Rest
    ) -> Rest.Index? {
        var index = rest.startIndex
        var introducer = first
        if first == "\u{1B}" {
            guard index < rest.endIndex else { return nil }
            introducer = rest[index]
            // Two scalars stand for one of C1.
            guard (0x20...0x7E).contains(introducer.value) else { return nil }
            rest.formIndex(after: &index)
        }
        switch introducer {
        case "[", "\u{9B}":  // CSI: parameters, intermediates, one final
            while index < rest.endIndex, (0x20...0x3F).contains(rest[index].value) { rest.formIndex(after: &index) }
            if index < rest.endIndex, (0x40...0x7E).contains(rest[index].value) { rest.formIndex(after: &index) }
            return index
        case "]", "P", "X", "^", "_", "\u{9D}", "\u{90}", "\u{98}", "\u{9E}", "\u{9F}":
            // OSC, DCS, SOS, PM, APC: a text up to BEL or ST.
            guard first != "\u{1B}" || introducer != first else { return nil }
            while index < rest.endIndex {
                let scalar = rest[index]
                if scalar == "\n" || scalar == "\r" { return index }
                rest.formIndex(after: &index)
                if scalar == "\u{7}" || scalar == "\u{9C}" { return index }
                if scalar == "\u{1B}" {
                    if index < rest.endIndex, rest[index] == "\\" { rest.formIndex(after: &index) }
                    return index
                }
            }
            return index
        default:
            guard first == "\u{1B}" else { return nil }
            // Intermediates and one final: the choice of a character set, or a function by itself.
            guard (0x20...0x2F).contains(introducer.value) else { return index }
            while index < rest.endIndex, (0x20...0x2F).contains(rest[index].value) { rest.formIndex(after: &index) }
            if index < rest.endIndex, (0x30...0x7E).contains(rest[index].value) { rest.formIndex(after: &index) }
            return index
        }
    }
}
