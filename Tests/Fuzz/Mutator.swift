import Tensors

/// Changes bytes, texts and numbers at random.
struct Mutator {
    var generator: SeededGenerator

    private static let interesting: [UInt64] = [
        0, 1, 2, 7, 8, 127, 128, 255, 256, 32_767, 65_535, 65_536, 1 << 24, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff,
        1 << 32, 1 << 40, 1 << 53, 1 << 62, UInt64(Int64.max), 1 << 63, .max, 100_000_000, 100_000_001,
    ]

    private static let numbers = [
        "0", "1", "2", "3", "10", "255", "65536", "4294967296", "9223372036854775807", "9223372036854775808",
        "18446744073709551616", "99999999999999999999999", "-1", "-0", "1.5", "1e3", "1e999", "1e-999", "NaN", "inf",
        "0x10", "01", "null", "true", "\"\"", "[]", "{}", "0.0", "2147483648", "1073741824",
        "0,4294967296,4294967296", "4294967296,4294967296,0",
    ]

    mutating func chance(_ one: Int) -> Bool { generator.uniform(below: one) == 0 }

    mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[generator.uniform(below: elements.count)]
    }

    /// A place in an array, its end included.
    private mutating func place(_ bytes: [UInt8]) -> Int { generator.uniform(below: bytes.count + 1) }

    private mutating func range(_ bytes: [UInt8], maximum: Int = 64) -> Range<Int> {
        let start = place(bytes)
        return start..<min(start + generator.uniform(below: maximum) + 1, bytes.count)
    }

    /// Half of the time one change, else up to four.
    private mutating func changes() -> Int { chance(2) ? 1 : 1 + generator.uniform(below: 4) }

    /// Changes that know nothing of the format.
    mutating func bytes(_ original: [UInt8], other: [UInt8]) -> [UInt8] {
        var bytes = original
        for _ in 0..<changes() {
            switch generator.uniform(below: 9) {
            case 0 where !bytes.isEmpty:
                bytes[generator.uniform(below: bytes.count)] ^= 1 << UInt8(generator.uniform(below: 8))
            case 1 where !bytes.isEmpty:
                bytes[generator.uniform(below: bytes.count)] = UInt8(truncatingIfNeeded: generator.nextWord())
            case 2: bytes.removeSubrange(range(bytes))
            case 3: bytes.removeLast(bytes.count - place(bytes))
            case 4: bytes.insert(contentsOf: bytes[range(bytes)], at: place(bytes))
            case 5:
                let noise = (0..<generator.uniform(below: 16)).map { _ in
                    UInt8(truncatingIfNeeded: generator.nextWord())
                }
                bytes.insert(contentsOf: noise, at: place(bytes))
            case 6: integer(&bytes)
            case 7:
                let cut = place(bytes)
                bytes = Array(bytes[..<cut] + other[min(cut, other.count)...])
            default: bytes.replaceSubrange(range(bytes), with: other[range(other)])
            }
        }
        return bytes
    }

    /// A number of 1, 2, 4 or 8 bytes in either order.
    private mutating func integer(_ bytes: inout [UInt8]) {
        let size = 1 << generator.uniform(below: 4)
        guard bytes.count >= size else { return }
        let value = pick(Self.interesting)
        let at = generator.uniform(below: bytes.count - size + 1)
        let isBigEndian = chance(2)
        for index in 0..<size {
            let shift = 8 * (isBigEndian ? size - 1 - index : index)
            bytes[at + index] = UInt8(truncatingIfNeeded: value >> UInt64(shift))
        }
    }

    /// Changes of a text: its numbers, its punctuation, words of the format, or bytes.
    mutating func text(_ original: [UInt8], other: [UInt8], words: [String]) -> [UInt8] {
        var text = original
        for _ in 0..<changes() {
            switch generator.uniform(below: 6) {
            case 0, 1: number(&text)
            case 2: text.replaceSubrange(range(text, maximum: 4), with: pick(words).utf8)
            case 3: text.insert(contentsOf: pick(words).utf8, at: place(text))
            case 4: token(&text)
            default: text = bytes(text, other: other)
            }
        }
        return text
    }

    /// Replaces one run of digits.
    private mutating func number(_ text: inout [UInt8]) {
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        var runs: [Range<Int>] = []
        var index = 0
        while index < text.count {
            guard digits.contains(text[index]) else {
                index += 1
                continue
            }
            let start = index
            while index < text.count, digits.contains(text[index]) { index += 1 }
            runs.append(start..<index)
        }
        guard !runs.isEmpty else { return }
        text.replaceSubrange(pick(runs), with: pick(Self.numbers).utf8)
    }

    /// Removes, doubles or moves a piece between two punctuation marks.
    private mutating func token(_ text: inout [UInt8]) {
        let marks = text.indices.filter { [0x7b, 0x7d, 0x5b, 0x5d, 0x2c, 0x3a, 0x0a, 0x28, 0x29].contains(text[$0]) }
        guard marks.count >= 2 else { return }
        let first = generator.uniform(below: marks.count - 1)
        let last = min(first + 1 + generator.uniform(below: 6), marks.count - 1)
        let piece = Array(text[marks[first]..<marks[last]])
        switch generator.uniform(below: 3) {
        case 0: text.removeSubrange(marks[first]..<marks[last])
        case 1: text.insert(contentsOf: piece, at: marks[first])
        default: text.insert(contentsOf: piece, at: pick(marks))
        }
    }
}
