import ForeignText

/// Text measured in terminal columns. SGR sequences take none, East Asian wide characters and emoji two.
public enum TextWidth {
    public static func of(_ text: String) -> Int {
        var width = 0
        forEachPiece(of: text) { piece in
            if case .character(let character) = piece { width += columns(of: character) }
        }
        return width
    }

    /// `text` in at most `columns` columns; what was cut is replaced by "…". Colour is closed at the cut.
    public static func cut(_ text: String, to columns: Int) -> String {
        guard of(text) > columns else { return text }
        var result = ""
        var width = 0
        var painted = false
        var full = false
        forEachPiece(of: text) { piece in
            switch piece {
            case .sequence(let sequence):
                if !full {
                    result += sequence
                    painted = sequence != "\u{1B}[0m"
                }
            case .character(let character):
                let next = Self.columns(of: character)
                if !full, width + next <= columns - 1 {
                    result.append(character)
                    width += next
                } else {
                    full = true
                }
            }
        }
        return result + (columns > 0 ? "…" : "") + (painted ? "\u{1B}[0m" : "")
    }

    /// A name in at most `columns` columns, with the middle left out: what tells names apart is at their ends. For text
    /// without colour; painted text is cut at its end.
    public static func shortened(_ name: String, to columns: Int) -> String {
        guard of(name) > columns else { return name }
        guard columns > 4, !name.contains("\u{1B}") else { return cut(name, to: columns) }
        let room = columns - 1
        var (head, tail) = ("", "")
        var width = 0
        for character in name {
            let next = Self.columns(of: character)
            if width + next > room - room / 2 { break }
            head.append(character)
            width += next
        }
        for character in name.reversed() {
            let next = Self.columns(of: character)
            if width + next > room { break }
            tail.append(character)
            width += next
        }
        return head + "…" + String(tail.reversed())
    }

    /// `text` with blanks up to `columns`.
    public static func padded(_ text: String, to columns: Int, right: Bool = false) -> String {
        let blanks = String(repeating: " ", count: max(0, columns - of(text)))
        return right ? blanks + text : text + blanks
    }

    /// Words laid out in lines of at most `columns`; a longer word has a line of its own.
    public static func wrapped(_ text: String, to columns: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ", omittingEmptySubsequences: true) {
            if !line.isEmpty, of(line) + 1 + of(String(word)) > columns {
                lines.append(line)
                line = ""
            }
            line += (line.isEmpty ? "" : " ") + word
        }
        if !line.isEmpty || lines.isEmpty { lines.append(line) }
        return lines
    }

    /// Text of a file that may be another's run, made safe to print.
    public static func harmless(_ text: String) -> String { ForeignText.line(text, limit: .max) }

    private enum Piece {
        case sequence(String)
        case character(Character)
    }

    private static func forEachPiece(of text: String, _ body: (Piece) -> Void) {
        var index = text.startIndex
        while index < text.endIndex {
            if text[index] == "\u{1B}", let end = text[index...].firstIndex(of: "m") {
                body(.sequence(String(text[index...end])))
                index = text.index(after: end)
            } else {
                body(.character(text[index]))
                index = text.index(after: index)
            }
        }
    }

    private static func columns(of character: Character) -> Int {
        guard let first = character.unicodeScalars.first else { return 0 }
        let value = first.value
        if value < 0x300 { return value < 0x20 ? 0 : 1 }
        if first.properties.generalCategory == .nonspacingMark || first.properties.generalCategory == .format {
            return 0
        }
        if first.properties.isEmojiPresentation { return 2 }
        switch value {
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA000...0xA4CF,
            0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x20000...0x3FFFD:
            return 2
        default:
            return 1
        }
    }
}
