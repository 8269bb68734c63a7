import CKernels

/// SHA-256 of bytes, as 64 lower-case hexadecimal digits.
public func sha256Hex(_ bytes: some Collection<UInt8>) -> String {
    var digest = SHA256Digest()
    if bytes.withContiguousStorageIfAvailable({ digest.update(UnsafeRawBufferPointer($0)) }) == nil {
        [UInt8](bytes).withUnsafeBytes { digest.update($0) }
    }
    return digest.hex()
}

/// SHA-256 over pieces (FIPS 180-4).
public struct SHA256Digest: Sendable {
    private var hash = deml_sha256()

    public init() {
        deml_sha256_begin(&hash, false)
    }

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        deml_sha256_update(&hash, bytes.baseAddress, bytes.count)
    }

    public mutating func update(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { update($0) }
    }

    /// The digest of what came so far, as 64 lower-case hexadecimal digits.
    public func hex() -> String {
        let digits = Array("0123456789abcdef".utf8)
        var digest = [UInt8](repeating: 0, count: 32)
        withUnsafePointer(to: hash) { deml_sha256_end($0, &digest) }
        return String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}

extension ByteRegion {
    /// SHA-256 of the bytes, as 64 lower-case hexadecimal digits. A mapped file goes through memory without staying there.
    public func sha256() -> String {
        var digest = SHA256Digest()
        var rest = self
        while !rest.isEmpty {
            let window = rest.prefix(8 << 20)
            window.withUnsafeBytes { digest.update($0) }
            window.relinquish()
            rest = rest.dropFirst(window.count)
        }
        return digest.hex()
    }
}

extension Files {
    /// SHA-256 of a file's bytes, read piece by piece. Throws what ``read(_:maximumBytes:)`` throws.
    public static func sha256(of path: String, maximumBytes: Int = .max) throws(DeMLError) -> String {
        var digest = SHA256Digest()
        try eachPiece(of: path, maximumBytes: maximumBytes) { digest.update($0) }
        return digest.hex()
    }
}
