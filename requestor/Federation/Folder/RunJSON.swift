import Foundation
import Tensors

/// The JSON of a run folder.
enum RunJSON {
    /// For files a person may open: sorted keys, indented, with a final newline.
    static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.nonConformingFloatEncodingStrategy = strategy
        return [UInt8](try encoder.encode(value)) + [UInt8(ascii: "\n")]
    }

    /// One line, with its newline.
    static func encodeLine(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.nonConformingFloatEncodingStrategy = strategy
        return [UInt8](try encoder.encode(value)) + [UInt8(ascii: "\n")]
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from bytes: some Sequence<UInt8>) throws -> Value {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
        return try decoder.decode(type, from: Data(bytes))
    }

    /// A loss may be NaN: that is news, not a reason to lose the line.
    private static var strategy: JSONEncoder.NonConformingFloatEncodingStrategy {
        .convertToString(positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    }
}

extension RunFolder {
    func decode<Value: Decodable>(_ path: String) throws(DeMLError) -> Value {
        let bytes = try Files.read(path, maximumBytes: 1 << 30)
        do { return try RunJSON.decode(Value.self, from: bytes) } catch {
            throw DeMLError(.malformed, "it is not what DeML writes there", place: path, cause: error)
        }
    }

    /// The lines of a file; a last line without its newline is what a crash left, and is passed over.
    func decodeLines<Value: Decodable>(_ path: String) throws(DeMLError) -> [Value] {
        let bytes = try Files.read(path, maximumBytes: 1 << 30)
        var values: [Value] = []
        var start = 0
        while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
            do { values.append(try RunJSON.decode(Value.self, from: bytes[start..<end])) } catch {
                throw DeMLError(
                    .malformed, "line \(values.count + 1) is not what DeML writes there", place: path, cause: error)
            }
            start = end + 1
        }
        return values
    }
}
