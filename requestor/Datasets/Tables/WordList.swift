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
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        hash ^= hash >> 29
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

    func word(_ code: Int) -> ArraySlice<UInt8> {
        bytes[(code == 0 ? 0 : ends[code - 1])..<ends[code]]
    }

    private func isEqual(_ entry: Int, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        let start = entry == 0 ? 0 : ends[entry - 1]
        guard ends[entry] - start == text.count else { return false }
        for index in 0..<text.count where bytes[start + index] != text[index] { return false }
        return true
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
