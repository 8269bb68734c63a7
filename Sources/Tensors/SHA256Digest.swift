import Crypto

/// SHA-256 of bytes, as 64 lower-case hexadecimal digits.
public func sha256Hex(_ bytes: some Collection<UInt8>) -> String {
    var digest = SHA256Digest()
    if bytes.withContiguousStorageIfAvailable({ digest.update(UnsafeRawBufferPointer($0)) }) == nil {
        [UInt8](bytes).withUnsafeBytes { digest.update($0) }
    }
    return digest.hex()
}

/// SHA-256 over pieces.
public struct SHA256Digest: Sendable {
    private var hasher = SHA256()

    public init() {}

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        hasher.update(bufferPointer: bytes)
    }

    public mutating func update(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { hasher.update(bufferPointer: $0) }
    }

    /// The digest of what came so far, as 64 lower-case hexadecimal digits.
    public func hex() -> String {
        let digits = Array("0123456789abcdef".utf8)
        let digest = hasher.finalize()
        let text = digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        return String(decoding: text, as: UTF8.self)
    }
}
