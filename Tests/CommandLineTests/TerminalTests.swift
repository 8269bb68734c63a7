import CommandLineSupport
import Testing

@Suite struct TerminalTests {
    @Test func colourNeedsATerminalAndNoRefusal() {
        #expect(Terminal(environment: [:], isTerminal: true, columns: 100).hasColour)
        #expect(!Terminal(environment: [:], isTerminal: false, columns: nil).hasColour)
        #expect(!Terminal(environment: ["NO_COLOR": "1"], isTerminal: true, columns: 100).hasColour)
        #expect(Terminal(environment: ["NO_COLOR": ""], isTerminal: true, columns: 100).hasColour)
        #expect(!Terminal(environment: ["TERM": "dumb"], isTerminal: true, columns: 100).isInteractive)
        #expect(Terminal(environment: ["CLICOLOR_FORCE": "1"], isTerminal: false, columns: nil).hasColour)
        #expect(
            !Terminal(environment: ["CLICOLOR_FORCE": "1", "NO_COLOR": "1"], isTerminal: false, columns: nil).hasColour)
    }

    @Test func refusingColourKeepsTheLiveLines() {
        #expect(Terminal(environment: ["NO_COLOR": "1"], isTerminal: true, columns: 100).isInteractive)
    }

    @Test func widthIsKeptWithinReason() {
        #expect(Terminal(environment: [:], isTerminal: true, columns: 132).columns == 132)
        #expect(Terminal(environment: ["COLUMNS": "99"], isTerminal: false, columns: nil).columns == 99)
        #expect(Terminal(environment: [:], isTerminal: true, columns: 3).columns == 40)
        #expect(Terminal(environment: ["COLUMNS": "many"], isTerminal: false, columns: nil).columns == 120)
    }

    @Test func paintIsEmptyWhenOff() {
        #expect(Paint(false)("text", .bold) == "text")
        #expect(Paint(true)("text", .bold, .red) == "\u{1B}[1;31mtext\u{1B}[0m")
        #expect(Paint(true)("", .bold) == "")
    }
}

@Suite struct TextWidthTests {
    @Test(arguments: [
        ("", 0), ("abc", 3), ("\u{1B}[1mabc\u{1B}[0m", 3), ("━▸✓", 3), ("数字", 4), ("e\u{301}", 1), ("🙂", 2),
    ])
    func width(text: String, expected: Int) { #expect(TextWidth.of(text) == expected) }

    @Test func cutsToTheColumnAndClosesColour() {
        #expect(TextWidth.cut("abcdef", to: 6) == "abcdef")
        #expect(TextWidth.cut("abcdef", to: 4) == "abc…")
        #expect(TextWidth.cut("数字数字", to: 4) == "数…")
        #expect(TextWidth.cut("\u{1B}[31mabcdef\u{1B}[0m", to: 4) == "\u{1B}[31mabc…\u{1B}[0m")
        for width in 1...8 {
            #expect(TextWidth.of(TextWidth.cut("\u{1B}[31mab数cdef\u{1B}[0mgh", to: width)) <= width)
        }
    }

    @Test func textFromOutsideCannotSteerTheTerminal() {
        #expect(TextWidth.harmless("a\u{1B}[31mb\nc\u{202E}d") == "a�b c�d")
    }

    @Test func wrapsAtWords() {
        #expect(TextWidth.wrapped("one two three four", to: 9) == ["one two", "three", "four"])
        #expect(TextWidth.wrapped("", to: 9) == [""])
    }
}

@Suite struct LiveRegionTests {
    /// The part of a terminal that the region uses: lines, cursor up, erase to the end.
    private struct Screen {
        var lines: [String] = []

        mutating func write(_ text: String) {
            var rest = text[...]
            while let character = rest.first {
                if rest.hasPrefix("\u{1B}[?2026") {
                    rest = rest.dropFirst(8)
                } else if rest.hasPrefix("\u{1B}[") {
                    let end = rest.firstIndex { $0 == "A" || $0 == "J" } ?? rest.startIndex
                    let number = Int(rest[rest.index(rest.startIndex, offsetBy: 2)..<end]) ?? 0
                    // Every line written so far ended with a newline, so going up n lines and erasing takes n away.
                    if rest[end] == "A" { lines.removeLast(number) }
                    rest = rest[rest.index(after: end)...]
                } else if character == "\r" {
                    rest = rest.dropFirst()
                } else {
                    let end = rest.firstIndex(of: "\n") ?? rest.endIndex
                    lines.append(String(rest[..<end]))
                    rest = end < rest.endIndex ? rest[rest.index(after: end)...] : ""
                }
            }
        }
    }

    @Test func regionStaysBelowWhatIsPrinted() {
        var screen = Screen()
        var region = LiveRegion()
        screen.write(region.draw(["a1", "b1"]))
        screen.write(region.draw(["a2", "b2", "c2"]))
        #expect(screen.lines == ["a2", "b2", "c2"])
        screen.write(region.print(["said"], above: ["a3"]))
        #expect(screen.lines == ["said", "a3"])
        screen.write(region.draw([]))
        screen.write(region.draw(["a4"]))
        #expect(screen.lines == ["said", "a4"])
        screen.write(region.clear())
        #expect(screen.lines == ["said"])
        screen.write(region.clear())
        #expect(screen.lines == ["said"])
    }
}
