import Datasets
import Tensors
import Testing

/// Every way of reading a number gives the nearest Double, which strtod is asked for.
@Suite struct NumberTextTests {
    /// As a field within a table, with other bytes after it.
    private func number(_ text: String, decimal: String = ".") -> Double? {
        let bytes = Array((text + ";,9.9e9,\n12345678901234567890").utf8)
        return bytes.withUnsafeBufferPointer {
            NumberText.number(
                $0.baseAddress!, text.utf8.count, readable: bytes.count, decimal: decimal.utf8.first ?? 0x2e)
        }
    }

    private func check(_ text: String) -> Bool {
        let expected = Double(text)?.bitPattern
        return number(text)?.bitPattern == expected && NumberText.number(text)?.bitPattern == expected
            && number(text.replacing(".", with: ","), decimal: ",")?.bitPattern == expected
    }

    private func failures(_ count: Int, _ purpose: String, _ text: (inout SeededGenerator) -> String) -> [String] {
        var generator = SeededGenerator(seed: 7, purpose: purpose)
        return (0..<count).map { _ in text(&generator) }.filter { !check($0) }
    }

    private func digits(_ count: Int, _ generator: inout SeededGenerator) -> String {
        String(decoding: (0..<count).map { _ in UInt8(0x30 + generator.uniform(below: 10)) }, as: UTF8.self)
    }

    @Test func digitsWithAPointAnywhere() {
        let wrong = failures(60_000, "point") { generator in
            let count = 1 + generator.uniform(below: 22)
            var text = digits(count, &generator)
            let place = generator.uniform(below: count + 2)
            if place <= count { text.insert(".", at: text.index(text.startIndex, offsetBy: place)) }
            return ["", "-", "+"][generator.uniform(below: 3)] + text
        }
        #expect(wrong == [])
    }

    @Test func doublesAsTheyAreWritten() {
        let wrong = failures(60_000, "bits") { generator in
            // Half of them of everyday size.
            let value =
                generator.next() & 1 == 0
                ? Double(bitPattern: generator.next())
                : generator.normal() * [1e-5, 1, 1000][generator.uniform(below: 3)]
            return value.isFinite ? "\(value)" : "0"
        }
        #expect(wrong == [])
    }

    @Test func digitsWithAnExponent() {
        let wrong = failures(60_000, "exponent") { generator in
            let text = digits(1 + generator.uniform(below: 20), &generator)
            return "\(text)e\(generator.uniform(below: 70) - 35)"
        }
        #expect(wrong == [])
    }

    /// Exactly between two Doubles, and one digit above and below: 2^53 + 1 and the like, times powers of ten.
    @Test func halfwayBetweenTwo() {
        let wrong = failures(20_000, "half") { generator in
            let odd = (UInt64(1) << 53 | generator.next() >> 11) &* 2 &+ 1
            let near = odd &+ UInt64(generator.uniform(below: 3)) &- 1
            return "\(near)" + ["", ".0", "e1", "e5", "e-3"][generator.uniform(below: 5)]
        }
        #expect(wrong == [])
    }

    @Test func whatIsNoNumber() {
        let others = [
            "", ".", "-", "+", "-.", "e5", "1e", "1e+", "1.2.3", "12345678.12345.7", "1.2345678.1234567", "1-2", "0x10",
            "inf", "nan", "NaN", "1,5", "12a45678", "123456789a123", "1 2", "½", "--1", "1_000", "12345678:",
            "/2345678",
        ]
        #expect(others.filter { number($0) != nil || NumberText.number($0) != nil } == [])
        #expect(
            number("-0")?.sign == .minus && number("5.") == 5 && number(".5") == 0.5
                && number("1,5", decimal: ",") == 1.5)
    }
}
