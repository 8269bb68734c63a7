import Tensors

/// An ONNX file as it is written (onnx/onnx.proto of the ONNX project): the parts that a model's import needs.
struct ONNXModel {
    struct Node {
        var name = ""
        var operation = ""
        var domain = ""
        var inputs: [String] = []
        var outputs: [String] = []
        var attributes: [String: Attribute] = [:]

        var origin: Step.Origin {
            Step.Origin(name: name.isEmpty ? outputs.first ?? "" : name, operation: operation)
        }
    }

    struct Attribute {
        var float = 0.0
        var int = 0
        var text = ""
        var tensor: Tensor?
        var floats: [Double] = []
        var ints: [Int] = []
        var texts: [String] = []
        var isGraph = false
    }

    struct Value {
        var name = ""
        /// 0 where it is not said.
        var type = 0
        /// Nil for a size that has a name or none; nil altogether where no shape is said.
        var shape: [Int?]?
    }

    var producer = ""
    /// Of the standard operators.
    var version = 0
    var nodes: [Node] = []
    var initializers: [String: Tensor] = [:]
    var inputs: [Value] = []
    var outputs: [Value] = []
    var hasFunctions = false

    static let mostNodes = 50_000

    /// - Parameter external: reads a part of a file beside this one; see ``ExternalData``.
    /// - Throws: `truncated`, `malformed`, `dtype`, `tooLarge`.
    init(
        _ bytes: ArraySlice<UInt8>, external: (ExternalData) throws(DeMLError) -> ArraySlice<UInt8>
    ) throws(DeMLError) {
        var reader = ProtobufReader(bytes)
        var graph: ArraySlice<UInt8>?
        while let (field, value) = try reader.next() {
            switch field {
            case 2: producer = value.text
            case 7: graph = value.bytes
            case 8:
                var domain = ""
                var version = 0
                var reader = ProtobufReader(value.bytes)
                while let (field, value) = try reader.next() {
                    if field == 1 { domain = value.text }
                    if field == 2 { version = value.int }
                }
                if domain.isEmpty || domain == "ai.onnx" { self.version = version }
            case 25: hasFunctions = true
            default: break
            }
        }
        guard let graph else { throw DeMLError(.missing, "the file has no graph", hint: "is it an ONNX model?") }
        try read(graph: graph, external)
    }

    private mutating func read(
        graph: ArraySlice<UInt8>, _ external: (ExternalData) throws(DeMLError) -> ArraySlice<UInt8>
    ) throws(DeMLError) {
        var reader = ProtobufReader(graph)
        while let (field, value) = try reader.next() {
            switch field {
            case 1:
                guard nodes.count < Self.mostNodes else {
                    throw DeMLError(.tooLarge, "the graph has more than \(Self.mostNodes) nodes")
                }
                nodes.append(try Self.node(value.bytes, external))
            case 5:
                let (name, tensor) = try ONNXTensor.read(value.bytes, external)
                initializers[name] = tensor
            case 11: inputs.append(try Self.value(value.bytes))
            case 12: outputs.append(try Self.value(value.bytes))
            case 15: throw DeMLError(.malformed, "the graph has sparse tensors, which are not read")
            default: break
            }
        }
    }

    private static func node(
        _ bytes: ArraySlice<UInt8>, _ external: (ExternalData) throws(DeMLError) -> ArraySlice<UInt8>
    ) throws(DeMLError) -> Node {
        var node = Node()
        var reader = ProtobufReader(bytes)
        while let (field, value) = try reader.next() {
            switch field {
            case 1: node.inputs.append(value.text)
            case 2: node.outputs.append(value.text)
            case 3: node.name = value.text
            case 4: node.operation = value.text
            case 5:
                let (name, attribute) = try Self.attribute(value.bytes, external)
                node.attributes[name] = attribute
            case 7: node.domain = value.text
            default: break
            }
        }
        return node
    }

    private static func attribute(
        _ bytes: ArraySlice<UInt8>, _ external: (ExternalData) throws(DeMLError) -> ArraySlice<UInt8>
    ) throws(DeMLError) -> (String, Attribute) {
        var name = ""
        var attribute = Attribute()
        var reader = ProtobufReader(bytes)
        while let (field, value) = try reader.next() {
            switch field {
            case 1: name = value.text
            case 2: attribute.float = value.float
            case 3: attribute.int = value.int
            case 4: attribute.text = value.text
            case 5: attribute.tensor = try ONNXTensor.read(value.bytes, external).tensor
            case 6: attribute.isGraph = true
            case 7: attribute.floats += try ONNXTensor.floats(value)
            case 8: attribute.ints += try value.ints()
            case 9: attribute.texts.append(value.text)
            default: break
            }
        }
        return (name, attribute)
    }

    private static func value(_ bytes: ArraySlice<UInt8>) throws(DeMLError) -> Value {
        var result = Value()
        var reader = ProtobufReader(bytes)
        while let (field, value) = try reader.next() {
            if field == 1 { result.name = value.text }
            guard field == 2 else { continue }
            var type = ProtobufReader(value.bytes)
            while let (field, value) = try type.next() {
                guard field == 1 else { continue }
                var tensor = ProtobufReader(value.bytes)
                while let (field, value) = try tensor.next() {
                    if field == 1 { result.type = value.int }
                    if field == 2 { result.shape = try shape(value.bytes) }
                }
            }
        }
        return result
    }

    private static func shape(_ bytes: ArraySlice<UInt8>) throws(DeMLError) -> [Int?] {
        var sizes: [Int?] = []
        var reader = ProtobufReader(bytes)
        while let (field, value) = try reader.next() {
            guard field == 1 else { continue }
            var size: Int?
            var dimension = ProtobufReader(value.bytes)
            while let (field, value) = try dimension.next() {
                if field == 1, value.int > 0 { size = value.int }
            }
            sizes.append(size)
        }
        guard sizes.count <= 8 else { throw DeMLError(.shape, "a value has \(sizes.count) dimensions") }
        return sizes
    }
}

/// Where a tensor's bytes lie outside of the model's file.
struct ExternalData {
    var location = ""
    var offset = 0
    var length: Int?
}

/// ONNX's tensors and ours.
enum ONNXTensor {
    /// ONNX's numbers of the types that are read.
    static let types: [Int: DType] = [
        1: .f32, 2: .u8, 3: .i8, 5: .i16, 6: .i32, 7: .i64, 9: .bool, 10: .f16, 11: .f64, 16: .bf16,
    ]

    static func read(
        _ bytes: ArraySlice<UInt8>, _ external: (ExternalData) throws(DeMLError) -> ArraySlice<UInt8>
    ) throws(DeMLError) -> (name: String, tensor: Tensor) {
        var name = ""
        var shape: [Int] = []
        var type = 0
        var raw: ArraySlice<UInt8>?
        var numbers: [Double] = []
        var ints: [Int] = []
        var outside = ExternalData()
        var isOutside = false
        var reader = ProtobufReader(bytes)
        while let (field, value) = try reader.next() {
            switch field {
            case 1: shape += try value.ints()
            case 2: type = value.int
            case 4, 10: numbers += try floats(value, width: field == 4 ? 4 : 8)
            case 5, 7, 11: ints += try value.ints()
            case 8: name = value.text
            case 9: raw = value.bytes
            case 13:
                let (key, text) = try entry(value.bytes)
                if key == "location" { outside.location = text }
                if key == "offset" { outside.offset = Int(text) ?? -1 }
                if key == "length" { outside.length = Int(text) ?? -1 }
            case 14: isOutside = value.int == 1
            default: break
            }
        }
        do throws(DeMLError) {
            guard let dtype = types[type] else {
                throw DeMLError(.dtype, "its type \(type) is not read", hint: "floats, integers and bool are")
            }
            guard shape.count <= 8, let count = elementCount(of: shape), count <= 1 << 30 else {
                throw DeMLError(.shape, "the shape \(shape) is not one of a tensor that fits in memory")
            }
            if isOutside {
                outside.length = outside.length ?? count * dtype.byteCount
                raw = try external(outside)
            }
            if let raw { return (name, try Tensor(dtype: dtype, shape: shape, bytes: raw)) }
            return (name, try tensor(dtype, shape, count: count, numbers, ints))
        } catch {
            throw error.within("tensor \(name.quotedForMessage)")
        }
    }

    /// Of numbers one at a time.
    private static func tensor(
        _ dtype: DType, _ shape: [Int], count: Int, _ numbers: [Double], _ ints: [Int]
    ) throws(DeMLError) -> Tensor {
        let given = max(numbers.count, ints.count)
        guard given == count else {
            throw DeMLError(.truncated, "the shape \(shape) has \(count) numbers, but there are \(given)")
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count * dtype.byteCount)
        func append(_ value: UInt64) {
            for byte in 0..<dtype.byteCount { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * UInt64(byte)))) }
        }
        switch dtype {
        case .f32: for value in numbers { append(UInt64(Float(value).bitPattern)) }
        case .f64: for value in numbers { append(value.bitPattern) }
        default: for value in ints { append(UInt64(bitPattern: Int64(value))) }
        }
        return try Tensor(dtype: dtype, shape: shape, bytes: ByteRegion(bytes))
    }

    /// Repeated floats (or doubles), packed or one at a time.
    static func floats(_ value: ProtobufReader.Value, width: Int = 4) throws(DeMLError) -> [Double] {
        guard case .bytes(let bytes) = value else { return [value.float] }
        guard bytes.count % width == 0 else { throw DeMLError(.truncated, "a list of numbers ends within one") }
        return bytes.withUnsafeBytes { raw in
            (0..<bytes.count / width).map {
                width == 4
                    ? Double(
                        Float(
                            bitPattern: UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self))
                        ))
                    : Double(
                        bitPattern: UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self)))
            }
        }
    }

    private static func entry(_ bytes: ArraySlice<UInt8>) throws(DeMLError) -> (String, String) {
        var pair = ("", "")
        var reader = ProtobufReader(bytes)
        while let (field, value) = try reader.next() {
            if field == 1 { pair.0 = value.text }
            if field == 2 { pair.1 = value.text }
        }
        return pair
    }
}
