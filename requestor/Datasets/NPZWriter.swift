import Tensors

/// Writes arrays as `np.savez` does: a zip of stored `.npy` files (numpy.lib.format 1.0; APPNOTE.TXT of PKWARE). The bytes
/// depend on names and arrays alone: no times, no names of machines.
public struct NPZWriter {
    /// An array of a file.
    public enum Array: Sendable {
        case numbers(Tensor)
        /// `[N]` texts.
        case texts([String])
    }

    private struct Member {
        var name: [UInt8]
        var checksum: UInt32
        var count: Int
        var offset: Int
    }

    private let file: DurableFile
    private var members: [Member] = []

    /// Throws what creating a file throws.
    public init(_ path: String) throws(DeMLError) {
        file = try DurableFile(path)
    }

    /// Adds an array; names are different. Throws `tooLarge` where the file leaves what a plain zip can hold, and what
    /// writing throws.
    public mutating func add(_ name: String, _ array: Array) throws(DeMLError) {
        let (type, shape, content) = try Self.content(array)
        let header = Self.header(type, shape)
        let bytes = header + content
        let count = bytes.count
        guard count < 0xffff_ffff, file.count + count < 0xffff_0000 else {
            throw DeMLError(
                .tooLarge, "the array '\(name)' needs \(count) bytes, and an npz file of DeML holds less than 4 GiB",
                place: file.path, hint: "safetensors has no such limit")
        }
        let member = Member(
            name: Swift.Array("\(name).npy".utf8), checksum: crc32(bytes[...]), count: count, offset: file.count)
        members.append(member)
        try file.write(Self.record(0x0403_4b50, member, isLocal: true) + member.name)
        try file.write(bytes)
    }

    /// Completes the file.
    public func commit() throws(DeMLError) {
        let start = file.count
        for member in members { try file.write(Self.record(0x0201_4b50, member, isLocal: false) + member.name) }
        let size = file.count - start
        var end = Self.bytes(0x0605_4b50, 4) + Self.bytes(0, 4)
        end += Self.bytes(members.count, 2) + Self.bytes(members.count, 2) + Self.bytes(size, 4) + Self.bytes(start, 4)
        try file.write(end + Self.bytes(0, 2))
        try file.commit()
    }

    // MARK: npy

    private static func content(
        _ array: Array
    ) throws(DeMLError) -> (type: String, shape: [Int], bytes: [UInt8]) {
        switch array {
        case .numbers(let tensor):
            let type: String
            switch tensor.dtype {
            case .f32: type = "<f4"
            case .f64: type = "<f8"
            case .i32: type = "<i4"
            case .i64: type = "<i8"
            case .u8: type = "|u1"
            default:
                throw DeMLError(.dtype, "\(tensor.dtype.rawValue) has no writer for npz", hint: "write safetensors")
            }
            return (type, tensor.shape, Swift.Array(tensor.bytes))
        case .texts(let texts):
            // UTF-32, each as long as the longest.
            let scalars = texts.map { Swift.Array($0.unicodeScalars) }
            let length = max(1, scalars.map(\.count).max() ?? 1)
            var bytes: [UInt8] = []
            bytes.reserveCapacity(4 * length * texts.count)
            for text in scalars {
                for index in 0..<length {
                    bytes += Self.bytes(index < text.count ? Int(text[index].value) : 0, 4)
                }
            }
            return ("<U\(length)", [texts.count], bytes)
        }
    }

    private static func header(_ type: String, _ shape: [Int]) -> [UInt8] {
        let sizes = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
        var text = "{'descr': '\(type)', 'fortran_order': False, 'shape': (\(sizes)), }"
        // The array begins at a multiple of 64.
        text += String(repeating: " ", count: (64 - (10 + text.utf8.count + 1) % 64) % 64) + "\n"
        return [0x93] + Swift.Array("NUMPY".utf8) + [1, 0] + bytes(text.utf8.count, 2) + Swift.Array(text.utf8)
    }

    // MARK: zip

    /// The record before a member, or of it in the directory; its name follows.
    private static func record(_ signature: Int, _ member: Member, isLocal: Bool) -> [UInt8] {
        var record = bytes(signature, 4)
        if !isLocal { record += bytes(20, 2) }
        // Needs version 2.0; names are UTF-8; stored; the first day that zip knows.
        record += bytes(20, 2) + bytes(0x0800, 2) + bytes(0, 2) + bytes(0, 2) + bytes(0x0021, 2)
        record += bytes(Int(member.checksum), 4) + bytes(member.count, 4) + bytes(member.count, 4)
        record += bytes(member.name.count, 2) + bytes(0, 2)
        if !isLocal { record += bytes(0, 2) + bytes(0, 2) + bytes(0, 2) + bytes(0, 4) + bytes(member.offset, 4) }
        return record
    }

    private static func bytes(_ value: Int, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
}
