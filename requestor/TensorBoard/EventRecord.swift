/// An event of TensorBoard: the messages `Event`, `Summary` and `SessionLog` of tensorboard/compat/proto/event.proto and
/// summary.proto, as far as scalars need them.
public struct EventRecord: Sendable, Equatable {
    public enum Content: Sendable, Equatable {
        /// What a file begins with.
        case fileVersion
        /// What was written before for this step and later ones is no more: a reader that is at work forgets it.
        case sessionStart
        /// Numbers by tag; a slash groups them.
        case scalars([(tag: String, value: Float)])

        public static func == (first: Content, second: Content) -> Bool {
            switch (first, second) {
            case (.fileVersion, .fileVersion), (.sessionStart, .sessionStart): true
            case (.scalars(let first), .scalars(let second)):
                first.map(\.tag) == second.map(\.tag)
                    && first.map(\.value.bitPattern) == second.map(\.value.bitPattern)
            default: false
            }
        }
    }

    /// Seconds since 1970.
    public var wallTime: Double
    public var step: Int
    public var content: Content

    public init(wallTime: Double, step: Int = 0, _ content: Content) {
        self.wallTime = wallTime
        self.step = step
        self.content = content
    }

    /// The message, by the numbers of its fields.
    public var message: [UInt8] {
        var event = ProtocolBuffer()
        event.append(1, double: wallTime)
        event.append(2, integer: step)
        switch content {
        case .fileVersion:
            event.append(3, bytes: "brain.Event:2".utf8)
        case .sessionStart:
            var log = ProtocolBuffer()
            log.append(1, integer: 1)
            event.append(7, bytes: log.bytes)
        case .scalars(let scalars):
            var summary = ProtocolBuffer()
            for (tag, value) in scalars {
                var entry = ProtocolBuffer()
                entry.append(1, bytes: tag.utf8)
                entry.append(2, float: value)
                summary.append(1, bytes: entry.bytes)
            }
            event.append(5, bytes: summary.bytes)
        }
        return event.bytes
    }

    /// The message as an event file holds it (TFRecord): length, checksum of the length, message, checksum of the message.
    public var framed: [UInt8] {
        let message = message
        let length = littleEndian(UInt64(message.count))
        return length + littleEndian(CRC32C.masked(length)) + message + littleEndian(CRC32C.masked(message))
    }
}

/// Fields of a message of Protocol Buffers (protobuf.dev/programming-guides/encoding). What has its default is left out.
private struct ProtocolBuffer {
    var bytes: [UInt8] = []

    mutating func append(_ field: UInt64, integer value: Int) {
        guard value != 0 else { return }
        varint(field << 3)
        varint(UInt64(bitPattern: Int64(value)))
    }

    mutating func append(_ field: UInt64, double value: Double) {
        guard value.bitPattern != 0 else { return }
        varint(field << 3 | 1)
        bytes += littleEndian(value.bitPattern)
    }

    mutating func append(_ field: UInt64, float value: Float) {
        // One of several fields: written whatever its value, so that 0 is a number and not nothing.
        varint(field << 3 | 5)
        bytes += littleEndian(value.bitPattern)
    }

    mutating func append(_ field: UInt64, bytes value: some Collection<UInt8>) {
        varint(field << 3 | 2)
        varint(UInt64(value.count))
        bytes += value
    }

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}

private func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

/// The checksum of Castagnoli (RFC 3720, B.4), and the mask under which event files hold it.
enum CRC32C {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
    }

    static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
        ~bytes.reduce(~UInt32(0)) { $0 >> 8 ^ table[Int(($0 ^ UInt32($1)) & 0xFF)] }
    }

    /// Rotated right by 15 bits, plus a constant: a checksum of checksums would be weak (tensorflow/core/lib/hash/crc32c.h).
    static func masked(_ bytes: some Sequence<UInt8>) -> UInt32 {
        let value = checksum(bytes)
        return (value >> 15 | value << 17) &+ 0xA282_EAD8
    }
}
