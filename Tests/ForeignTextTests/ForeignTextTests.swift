import ForeignText
import Testing

@Suite struct ForeignTextTests {
    @Test(arguments: [
        ("plain", "plain"), ("Ωmega ünïcode 漢字 🎉", "Ωmega ünïcode 漢字 🎉"), ("", ""),
        ("\u{1B}[31mred\u{1B}[0m", "\u{FFFD}red\u{FFFD}"), ("\u{1B}[2J\u{1B}[H", "\u{FFFD}\u{FFFD}"),
        ("\u{1B}]0;title\u{7}x", "\u{FFFD}x"), ("\u{1B}]8;;http://a\u{1B}\\x", "\u{FFFD}x"),
        ("\u{1B}P1;1|x\u{9C}y", "\u{FFFD}y"), ("\u{9B}31mred", "\u{FFFD}red"), ("\u{9D}0;t\u{7}x", "\u{FFFD}x"),
        ("\u{1B}(0x", "\u{FFFD}x"), ("\u{1B}cx", "\u{FFFD}x"), ("x\u{1B}", "x\u{FFFD}"),
        ("\u{1B}\u{1B}[31mx", "\u{FFFD}\u{FFFD}x"), ("\u{1B}[31", "\u{FFFD}"),
        ("a\0b\u{7F}c\u{8}", "a\u{FFFD}b\u{FFFD}c\u{FFFD}"), ("a\u{202E}b\u{2066}c", "a\u{FFFD}b\u{FFFD}c"),
        ("a\u{200B}b\u{FEFF}c\u{AD}d", "a\u{FFFD}b\u{FFFD}c\u{FFFD}d"), ("\u{E0041}", "\u{FFFD}"),
    ])
    func textIsMadeHarmless(text: String, expected: String) {
        #expect(ForeignText.lines(text) == expected)
        #expect(ForeignText.line(text) == expected)
    }

    @Test func linesAreKeptOrBecomeOne() {
        let text = "a\r\nb\rc\nd\u{85}e\u{2028}f\u{2029}g\u{B}h\ti"
        #expect(ForeignText.lines(text) == "a\nb\nc\nd\ne\nf\ng\nh\ti")
        #expect(ForeignText.line(text) == "a b c d e f g h i")
        // A sequence that never ends hides its line only.
        #expect(ForeignText.lines("\u{1B}]0;never ended\nnext") == "\u{FFFD}\nnext")
    }

    @Test func lengthIsBounded() {
        #expect(ForeignText.line("abcdef", limit: 3) == "abc…")
        #expect(ForeignText.line("abc", limit: 3) == "abc")
        #expect(ForeignText.line("abc", limit: 0) == "")
        #expect(ForeignText.lines(String(repeating: "e\u{301}", count: 1000), limit: 100).unicodeScalars.count == 101)
        #expect(ForeignText.quoted(String(repeating: "x", count: 100)).count == 83)
    }

    @Test func bytesThatAreNoTextAreShownAsSuch() {
        #expect(ForeignText.line(bytes: [0x61, 0xFF, 0xC3, 0x62]) == "a\u{FFFD}\u{FFFD}b")
        #expect(ForeignText.lines(bytes: [0x61, 0x1B, 0x5B, 0x41, 0x0A]) == "a\u{FFFD}\n")
    }

    @Test func quotedShowsWhatIsThere() {
        #expect(ForeignText.quoted("a\u{1B}[2J\n\u{202E}") == #"'a\u{1b}[2J\u{a}\u{202e}'"#)
    }

    /// Whatever comes: nothing harmful is left, what is clean stays, the length holds.
    @Test(arguments: 0..<300) func nothingHarmfulPasses(seed: UInt64) {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1
        func next(_ bound: UInt64) -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state % bound
        }
        let special: [Unicode.Scalar] = [
            "\u{1B}", "[", "]", "P", "\\", "\u{7}", "\u{9B}", "\u{9C}", "\u{9D}", "m", ";", "3", "\n", "\r", "\u{202E}",
            "\u{2069}", "\u{200B}", "\u{2028}", "a", " ", "\0", "é", "字",
        ]
        var text = String.UnicodeScalarView()
        for _ in 0..<next(60) {
            if next(4) == 0, let any = Unicode.Scalar(UInt32(next(0x110000))) {
                text.append(any)
            } else {
                text.append(special[Int(next(UInt64(special.count)))])
            }
        }
        let lines = ForeignText.lines(String(text), limit: 40)
        let line = ForeignText.line(String(text), limit: 40)
        #expect(lines.unicodeScalars.allSatisfy { !ForeignText.isHarmful($0) || $0 == "\n" || $0 == "\t" })
        #expect(line.unicodeScalars.allSatisfy { !ForeignText.isHarmful($0) })
        #expect(line.unicodeScalars.count <= 41 && lines.unicodeScalars.count <= 41)
        #expect(ForeignText.line(line, limit: 41) == line && ForeignText.lines(lines, limit: 41) == lines)
    }
}
