extension FlexValue {
    /// The value as a FlexBuffers buffer: maps with keys sorted by bytes, every target aligned to its width.
    public func encoded() -> [UInt8] {
        var writer = FlexWriter()
        writer.reserve(estimatedSize)
        let root = writer.write(self)
        return writer.finish(root)
    }

    private var estimatedSize: Int {
        switch self {
        case .blob(let bytes): bytes.count + 16
        case .string(let text): text.utf8.count + 16
        case .vector(let items): items.reduce(16) { $0 + $1.estimatedSize + 9 }
        case .map(let fields): fields.reduce(48) { $0 + $1.key.utf8.count + $1.value.estimatedSize + 18 }
        default: 16
        }
    }
}

/// Writes children before parents, as the format wants it; a `Slot` is what a parent stores for a child.
struct FlexWriter {
    enum Slot {
        case inline(UInt64, type: UInt8, width: Int)
        /// Something written earlier at `position`, whose own elements are `width` bytes wide.
        case offset(Int, type: UInt8, width: Int)
    }

    private var out: [UInt8] = []
    private var keys: [String: Int] = [:]

    mutating func reserve(_ size: Int) {
        out.reserveCapacity(size)
    }

    mutating func write(_ value: FlexValue) -> Slot {
        switch value {
        case .null: return .inline(0, type: 0, width: 1)
        case .bool(let flag): return .inline(flag ? 1 : 0, type: 26, width: 1)
        case .int(let number): return .inline(UInt64(bitPattern: number), type: 1, width: signedWidth(number))
        case .uint(let number): return .inline(number, type: 2, width: unsignedWidth(number))
        case .float(let number): return .inline(number.bitPattern, type: 3, width: 8)
        case .string(let text):
            let position = writeBytes(text.utf8)
            out.append(0)
            return .offset(position.0, type: 5, width: position.1)
        case .blob(let bytes):
            let position = writeBytes(bytes)
            return .offset(position.0, type: 25, width: position.1)
        case .vector(let items):
            var slots: [Slot] = []
            for item in items { slots.append(write(item)) }
            return writeVector(slots, keys: nil)
        case .map(let fields):
            let sorted = fields.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
            var slots: [Slot] = []
            var keySlots: [Slot] = []
            for field in sorted {
                keySlots.append(writeKey(field.key))
                slots.append(write(field.value))
            }
            return writeMap(keySlots, slots)
        }
    }

    mutating func finish(_ root: Slot) -> [UInt8] {
        let width = slotWidth(root, at: out.count, index: 0)
        align(width)
        writeSlot(root, width: width)
        out.append(packedType(root, parentWidth: width))
        out.append(UInt8(width))
        return out
    }

    private mutating func writeBytes(_ bytes: some Collection<UInt8>) -> (Int, Int) {
        let width = unsignedWidth(UInt64(bytes.count))
        align(width)
        writeNumber(UInt64(bytes.count), width: width)
        let position = out.count
        out.append(contentsOf: bytes)
        return (position, width)
    }

    private mutating func writeKey(_ key: String) -> Slot {
        if let position = keys[key] { return .offset(position, type: 4, width: 1) }
        let position = out.count
        out.append(contentsOf: key.utf8)
        out.append(0)
        keys[key] = position
        return .offset(position, type: 4, width: 1)
    }

    private mutating func writeMap(_ keySlots: [Slot], _ slots: [Slot]) -> Slot {
        var keysWidth = unsignedWidth(UInt64(keySlots.count))
        for (index, slot) in keySlots.enumerated() {
            keysWidth = max(keysWidth, slotWidth(slot, at: out.count, index: index + 1))
        }
        align(keysWidth)
        writeNumber(UInt64(keySlots.count), width: keysWidth)
        let keysPosition = out.count
        for slot in keySlots { writeSlot(slot, width: keysWidth) }
        return writeVector(slots, keys: (keysPosition, keysWidth))
    }

    private mutating func writeVector(_ slots: [Slot], keys: (position: Int, width: Int)?) -> Slot {
        let lead = keys == nil ? 1 : 3
        var width = unsignedWidth(UInt64(slots.count))
        if let keys {
            width = max(width, slotWidth(.offset(keys.position, type: 14, width: keys.width), at: out.count, index: 0))
        }
        for (index, slot) in slots.enumerated() {
            width = max(width, slotWidth(slot, at: out.count, index: index + lead))
        }
        align(width)
        if let keys {
            writeNumber(UInt64(out.count - keys.position), width: width)
            writeNumber(UInt64(keys.width), width: width)
        }
        writeNumber(UInt64(slots.count), width: width)
        let position = out.count
        for slot in slots { writeSlot(slot, width: width) }
        for slot in slots { out.append(packedType(slot, parentWidth: width)) }
        return .offset(position, type: keys == nil ? 10 : 9, width: width)
    }

    /// The least width with which `slot` can be stored as element `index` of something that begins at `start`.
    private func slotWidth(_ slot: Slot, at start: Int, index: Int) -> Int {
        switch slot {
        case .inline(_, _, let width): return width
        case .offset(let position, _, _):
            for width in [1, 2, 4, 8] {
                let aligned = (start + width - 1) / width * width
                let distance = UInt64(aligned + index * width - position)
                if unsignedWidth(distance) <= width { return width }
            }
            return 8
        }
    }

    private mutating func writeSlot(_ slot: Slot, width: Int) {
        switch slot {
        case .inline(let bits, _, _): writeNumber(bits, width: width)
        case .offset(let position, _, _): writeNumber(UInt64(out.count - position), width: width)
        }
    }

    private func packedType(_ slot: Slot, parentWidth: Int) -> UInt8 {
        switch slot {
        case .inline(_, let type, _): type << 2 | UInt8(parentWidth.trailingZeroBitCount)
        case .offset(_, let type, let width): type << 2 | UInt8(width.trailingZeroBitCount)
        }
    }

    private mutating func align(_ width: Int) {
        while out.count % width != 0 { out.append(0) }
    }

    private mutating func writeNumber(_ bits: UInt64, width: Int) {
        for index in 0..<width { out.append(UInt8(truncatingIfNeeded: bits >> UInt64(8 * index))) }
    }

    private func unsignedWidth(_ value: UInt64) -> Int {
        value < 1 << 8 ? 1 : value < 1 << 16 ? 2 : value < 1 << 32 ? 4 : 8
    }

    private func signedWidth(_ value: Int64) -> Int {
        Int64(Int8(truncatingIfNeeded: value)) == value
            ? 1
            : Int64(Int16(truncatingIfNeeded: value)) == value
                ? 2 : Int64(Int32(truncatingIfNeeded: value)) == value ? 4 : 8
    }
}
