import Tensors

/// Different texts, numbered in the order of their appearance: a hash table over bytes, so that a column of a million
/// words costs a million look-ups and no strings.
struct WordList {
    /// More are not kept, see ``isFull``.
    static let maximumCount = 65_536
    /// Longer texts are no names.
    static let longestWord = 1000

    private var bytes: [UInt8] = []
    private var ends: [Int] = []
    private var hashes: [UInt64] = []
    private var slots: [Int32] = Array(repeating: -1, count: 64)

    var count: Int { ends.count }

    /// A text was not taken because there were too many, or too long.
    private(set) var isFull = false

    /// The number of a text; nil where there are too many.
    mutating func code(_ text: UnsafeBufferPointer<UInt8>) -> Int32? {
        let hash = Self.hash(UnsafeRawBufferPointer(text))
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[slot] >= 0 {
            let entry = Int(slots[slot])
            if hashes[entry] == hash, isEqual(entry, text) { return Int32(entry) }
            slot = (slot + 1) & (slots.count - 1)
        }
        guard ends.count < Self.maximumCount, text.count <= Self.longestWord else {
            isFull = true
            return nil
        }
        let code = Int32(ends.count)
        slots[slot] = code
        hashes.append(hash)
        bytes.append(contentsOf: text)
        ends.append(bytes.count)
        if ends.count * 2 > slots.count { grow() }
        return code
    }

    /// A number that different texts rarely share, eight bytes at a time; the ends of a text may overlap.
    private static func hash(_ text: UnsafeRawBufferPointer) -> UInt64 {
        func word<Word: FixedWidthInteger & BitwiseCopyable>(_ place: Int, _: Word.Type) -> UInt64 {
            UInt64(truncatingIfNeeded: text.loadUnaligned(fromByteOffset: place, as: Word.self))
        }
        func mixed(_ hash: UInt64, _ word: UInt64) -> UInt64 {
            let product = (hash ^ word) &* 0x9e37_79b9_7f4a_7c15
            return product ^ product >> 32
        }
        var hash = UInt64(truncatingIfNeeded: text.count)
        switch text.count {
        case 8...:
            for place in stride(from: 0, to: text.count - 8, by: 8) { hash = mixed(hash, word(place, UInt64.self)) }
            hash = mixed(hash, word(text.count - 8, UInt64.self))
        case 4...: hash = mixed(hash, word(0, UInt32.self) << 32 | word(text.count - 4, UInt32.self))
        case 1...:
            hash = mixed(
                hash, UInt64(text[0]) << 16 | UInt64(text[text.count / 2]) << 8 | UInt64(text[text.count - 1]))
        default: break
        }
        return mixed(hash, 0)
    }

    func word(_ code: Int) -> ArraySlice<UInt8> {
        bytes[(code == 0 ? 0 : ends[code - 1])..<ends[code]]
    }

    private func isEqual(_ entry: Int, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        let start = entry == 0 ? 0 : ends[entry - 1]
        guard ends[entry] - start == text.count else { return false }
        return bytes.withUnsafeBufferPointer { bytes in
            for index in 0..<text.count where bytes[start + index] != text[index] { return false }
            return true
        }
    }

    private mutating func grow() {
        slots = Array(repeating: -1, count: slots.count * 2)
        for (entry, hash) in hashes.enumerated() {
            var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
            while slots[slot] >= 0 { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = Int32(entry)
        }
    }
}
