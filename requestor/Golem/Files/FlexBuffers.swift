/// A value in the FlexBuffers format, in which the daemon's bus speaks to services.
///
/// Format: https://flatbuffers.dev/internals/ and section 6.3 of the protocol reference.
public enum FlexValue: Hashable, Sendable {
    case null
    case bool(Bool)
    case int(Int64)
    case uint(UInt64)
    case float(Double)
    case string(String)
    case blob(ArraySlice<UInt8>)
    case vector([FlexValue])
    case map([String: FlexValue])

    public subscript(key: String) -> FlexValue? {
        if case .map(let fields) = self { fields[key] } else { nil }
    }

    public var string: String? {
        if case .string(let value) = self { value } else { nil }
    }

    /// An integer of either kind; senders use both.
    public var integer: Int? {
        switch self {
        case .int(let value): Int(exactly: value)
        case .uint(let value): Int(exactly: value)
        case .float(let value): Int(exactly: value)
        default: nil
        }
    }

    /// Bytes, written as a blob or, as some senders do, as a vector of numbers.
    public var bytes: ArraySlice<UInt8>? {
        switch self {
        case .blob(let bytes):
            return bytes
        case .vector(let items):
            var out: [UInt8] = []
            out.reserveCapacity(items.count)
            for item in items {
                guard let value = item.integer, let byte = UInt8(exactly: value) else { return nil }
                out.append(byte)
            }
            return out[...]
        default:
            return nil
        }
    }
}

extension FlexValue {
    /// Reads a whole buffer. Throws ``GolemError`` (`malformed`) on an offset, length or width that leaves the
    /// buffer, an unknown type, nesting deeper than 64, or more than a million values.
    public init(decoding buffer: [UInt8]) throws(GolemError) {
        var reader = FlexReader(buffer: buffer)
        self = try reader.root()
    }
}

struct FlexReader {
    let buffer: [UInt8]
    /// Values still allowed: offsets may point to one value many times, so the size alone bounds nothing.
    var valuesLeft = 1_000_000

    init(buffer: [UInt8]) {
        self.buffer = buffer
    }

    mutating func root() throws(GolemError) -> FlexValue {
        guard buffer.count >= 3 else { throw bad("shorter than 3 bytes") }
        let width = Int(buffer[buffer.count - 1])
        let slot = buffer.count - 2 - width
        guard [1, 2, 4, 8].contains(width), slot >= 0 else { throw bad("root slot of \(width) bytes") }
        return try value(at: slot, width: width, packed: buffer[buffer.count - 2], depth: 0)
    }

    func bad(_ what: String) -> GolemError {
        GolemError(.malformed, "a FlexBuffers message of \(buffer.count) bytes is malformed: \(what)")
    }

    func unsigned(at position: Int, width: Int) throws(GolemError) -> UInt64 {
        guard position >= 0, position + width <= buffer.count else { throw bad("read outside at \(position)") }
        var value: UInt64 = 0
        for index in 0..<width { value |= UInt64(buffer[position + index]) << UInt64(8 * index) }
        return value
    }

    func signed(at position: Int, width: Int) throws(GolemError) -> Int64 {
        let shift = UInt64(64 - 8 * width)
        return Int64(bitPattern: try unsigned(at: position, width: width) << shift) >> Int64(shift)
    }

    func float(at position: Int, width: Int) throws(GolemError) -> Double {
        let raw = try unsigned(at: position, width: width)
        switch width {
        case 8: return Double(bitPattern: raw)
        case 4: return Double(Float(bitPattern: UInt32(raw)))
        case 2: return halfValue(UInt16(raw))
        default: throw bad("a float of one byte")
        }
    }

    /// The target of the offset in the slot at `position`.
    func target(at position: Int, width: Int) throws(GolemError) -> Int {
        let offset = try unsigned(at: position, width: width)
        guard offset <= UInt64(position) else { throw bad("offset \(offset) at \(position)") }
        return position - Int(offset)
    }

    func length(before position: Int, width: Int) throws(GolemError) -> Int {
        let value = try unsigned(at: position - width, width: width)
        guard value <= UInt64(buffer.count) else { throw bad("length \(value) at \(position)") }
        return Int(value)
    }

    func key(at position: Int) throws(GolemError) -> String {
        guard let end = buffer[position...].firstIndex(of: 0) else { throw bad("key without an end") }
        return String(decoding: buffer[position..<end], as: UTF8.self)
    }

    mutating func value(at slot: Int, width: Int, packed: UInt8, depth: Int) throws(GolemError) -> FlexValue {
        guard depth < 64 else { throw bad("nested deeper than 64") }
        valuesLeft -= 1
        guard valuesLeft > 0 else { throw bad("more than a million values") }
        let type = packed >> 2
        switch type {
        case 0: return .null
        case 1: return .int(try signed(at: slot, width: width))
        case 2: return .uint(try unsigned(at: slot, width: width))
        case 3: return .float(try float(at: slot, width: width))
        case 26: return .bool(try unsigned(at: slot, width: width) != 0)
        default: break
        }
        let inner = 1 << Int(packed & 3)
        let position = try target(at: slot, width: width)
        switch type {
        case 4:
            return .string(try key(at: position))
        case 5, 25:
            let count = try length(before: position, width: inner)
            guard position + count <= buffer.count else { throw bad("bytes beyond the end at \(position)") }
            let bytes = buffer[position..<position + count]
            return type == 5 ? .string(String(decoding: bytes, as: UTF8.self)) : .blob(bytes)
        case 6: return .int(try signed(at: position, width: inner))
        case 7: return .uint(try unsigned(at: position, width: inner))
        case 8: return .float(try float(at: position, width: inner))
        case 9:
            return try map(at: position, width: inner, depth: depth)
        case 10:
            let count = try length(before: position, width: inner)
            return .vector(try items(at: position, count: count, width: inner, types: nil, depth: depth))
        case 11...15, 36:
            let count = try length(before: position, width: inner)
            let element: UInt8 = type == 36 ? 26 : type - 10
            return .vector(try items(at: position, count: count, width: inner, types: element, depth: depth))
        case 16...24:
            let element = (type - 16) % 3 + 1
            let count = Int((type - 16) / 3) + 2
            return .vector(try items(at: position, count: count, width: inner, types: element, depth: depth))
        default:
            throw bad("unknown type \(type)")
        }
    }

    /// The elements of a vector; `types` is the common type, or nil when type bytes follow the elements.
    mutating func items(
        at position: Int, count: Int, width: Int, types: UInt8?, depth: Int
    ) throws(GolemError) -> [FlexValue] {
        let size = count * width + (types == nil ? count : 0)
        guard position + size <= buffer.count else { throw bad("a vector of \(count) at \(position)") }
        if types == 1 || types == 2, width == 1 {
            valuesLeft -= count / 16
            guard valuesLeft > 0 else { throw bad("more than a million values") }
            return buffer[position..<position + count].map {
                types == 2 ? .uint(UInt64($0)) : .int(Int64(Int8(bitPattern: $0)))
            }
        }
        var out: [FlexValue] = []
        out.reserveCapacity(count)
        for index in 0..<count {
            // The width bits of a common type are never looked at: strings in typed vectors have one-byte lengths
            // only if written so, which the format leaves to the vector's own width.
            let packed = types.map { $0 << 2 | widthBits(width) } ?? buffer[position + count * width + index]
            out.append(try value(at: position + index * width, width: width, packed: packed, depth: depth + 1))
        }
        return out
    }

    mutating func map(at position: Int, width: Int, depth: Int) throws(GolemError) -> FlexValue {
        let keys = try target(at: position - 3 * width, width: width)
        let rawWidth = try unsigned(at: position - 2 * width, width: width)
        guard [1, 2, 4, 8].contains(rawWidth) else { throw bad("keys of \(rawWidth) bytes") }
        let keysWidth = Int(rawWidth)
        let count = try length(before: position, width: width)
        guard try length(before: keys, width: keysWidth) == count else { throw bad("keys and values differ in number") }
        guard keys + count * keysWidth <= buffer.count else { throw bad("keys beyond the end") }
        let values = try items(at: position, count: count, width: width, types: nil, depth: depth)
        var fields: [String: FlexValue] = [:]
        fields.reserveCapacity(count)
        for (index, value) in values.enumerated() {
            let keyPosition = try target(at: keys + index * keysWidth, width: keysWidth)
            fields[try key(at: keyPosition)] = value
        }
        return .map(fields)
    }

    func widthBits(_ width: Int) -> UInt8 {
        UInt8(width.trailingZeroBitCount)
    }

    func halfValue(_ bits: UInt16) -> Double {
        let sign: Double = bits & 0x8000 != 0 ? -1 : 1
        let exponent = Int(bits >> 10 & 31)
        let fraction = Double(bits & 1023)
        switch exponent {
        case 0: return sign * fraction / 16_777_216
        case 31: return fraction == 0 ? sign * .infinity : .nan
        default: return sign * Double(sign: .plus, exponent: exponent - 15, significand: 1 + fraction / 1024)
        }
    }
}
