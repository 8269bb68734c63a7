import Foundation
import NeuralNetwork
import Tensors

/// All JSON that is written at home: files of a run, its journal, and what commands print. Keys are sorted, slashes stay as
/// they are, and a number that JSON has no word for is the text `NaN`, `Infinity` or `-Infinity`: a loss may be NaN, and that
/// is news, not a reason to lose the line.
public enum RunJSON {
    /// For files a person may open: indented, with a final newline.
    public static func encode(_ value: some Encodable) throws -> [UInt8] {
        [UInt8](try jsonEncoder(isIndented: true).encode(value)) + [UInt8(ascii: "\n")]
    }

    /// For programs: one line, with its newline.
    public static func encodeLine(_ value: some Encodable) throws -> [UInt8] {
        [UInt8](try jsonEncoder().encode(value)) + [UInt8(ascii: "\n")]
    }

    /// The one line as text, without its newline.
    public static func line(_ value: some Encodable) throws -> String {
        String(decoding: try jsonEncoder().encode(value), as: UTF8.self)
    }

    /// Either form.
    public static func decode<Value: Decodable>(_ type: Value.Type, from bytes: some Sequence<UInt8>) throws -> Value {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
        return try decoder.decode(type, from: Data(bytes))
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
