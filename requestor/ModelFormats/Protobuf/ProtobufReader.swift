import Tensors

/// The fields of one protobuf message, one after the other (protobuf.dev, "Encoding"). Only what ONNX needs, so that it is
/// small enough to be reviewed: swift-protobuf would bring a code generator and a hundred files for six messages. A field's
/// content is a slice; nothing is copied and no length is believed before it is checked.
struct ProtobufReader {
    enum Value {
        case varint(UInt64)
        case fixed64(UInt64)
        case fixed32(UInt32)
        case bytes(ArraySlice<UInt8>)
    }

    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) {
        rest = bytes
    }

    /// The next field; nil at the end. Throws `truncated` and `malformed`.
    mutating func next() throws(DeMLError) -> (field: Int, value: Value)? {
        guard !rest.isEmpty else { return nil }
        let key = try varint()
        guard key >> 3 > 0, key >> 3 < 1 << 29 else {
            throw DeMLError(.malformed, "a protobuf field has the number \(key >> 3)")
        }
        let field = Int(key >> 3)
        switch key & 7 {
        case 0: return (field, .varint(try varint()))
        case 1: return (field, .fixed64(try fixed(8)))
        case 2:
            let length = try varint()
            guard length <= UInt64(rest.count) else {
                throw DeMLError(
                    .truncated, "a protobuf field claims \(length) bytes, but \(rest.count) are left",
                    hint: "is the file complete?")
            }
            return (field, .bytes(take(Int(length))))
        case 5: return (field, .fixed32(UInt32(try fixed(4))))
        default: throw DeMLError(.malformed, "a protobuf field has the unknown type \(key & 7)")
        }
    }

    /// The numbers of a packed field.
    static func packed(_ bytes: ArraySlice<UInt8>) throws(DeMLError) -> [UInt64] {
        var reader = ProtobufReader(bytes)
        var values: [UInt64] = []
        while !reader.rest.isEmpty { values.append(try reader.varint()) }
        return values
    }

    private mutating func take(_ count: Int) -> ArraySlice<UInt8> {
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    private mutating func fixed(_ count: Int) throws(DeMLError) -> UInt64 {
        guard rest.count >= count else {
            throw DeMLError(.truncated, "a protobuf message ends within a number", hint: "is the file complete?")
        }
        return take(count).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    private mutating func varint() throws(DeMLError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard let byte = rest.popFirst() else {
                throw DeMLError(.truncated, "a protobuf message ends within a number", hint: "is the file complete?")
            }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
        }
        throw DeMLError(.malformed, "a protobuf number has more than ten bytes")
    }
}

extension ProtobufReader.Value {
    var int: Int {
        switch self {
        case .varint(let value), .fixed64(let value): Int(Int64(bitPattern: value))
        case .fixed32(let value): Int(Int32(bitPattern: value))
        case .bytes: 0
        }
    }

    /// Empty for a number.
    var bytes: ArraySlice<UInt8> { if case .bytes(let bytes) = self { bytes } else { [] } }

    var text: String { String(decoding: bytes, as: UTF8.self) }

    var float: Double {
        switch self {
        case .fixed32(let value): Double(Float(bitPattern: value))
        case .fixed64(let value): Double(bitPattern: value)
        default: 0
        }
    }

    /// A repeated number, packed or one at a time.
    func ints() throws(DeMLError) -> [Int] {
        guard case .bytes(let bytes) = self else { return [int] }
        return try ProtobufReader.packed(bytes).map { Int(Int64(bitPattern: $0)) }
    }
}
