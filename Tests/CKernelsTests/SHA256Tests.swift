import CKernels
import Testing

/// SHA-256 by the processor's instructions and in plain C, against NIST's examples and Python's hashlib.
@Suite struct SHA256Tests {

    /// The digest of `bytes`, given in pieces of the lengths that `piece` returns.
    static func digest(_ bytes: [UInt8], plain: Bool, piece: () -> Int = { .max }) -> [UInt8] {
        var hash = deml_sha256()
        deml_sha256_begin(&hash, plain)
        var at = 0
        bytes.withUnsafeBytes { bytes in
            while at < bytes.count {
                let some = min(piece(), bytes.count - at)
                deml_sha256_update(&hash, bytes.baseAddress.map { $0 + at }, some)
                at += some
            }
        }
        var digest = [UInt8](repeating: 0, count: 32)
        deml_sha256_end(&hash, &digest)
        return digest
    }

    static func hexadecimal(_ digest: [UInt8]) -> String {
        digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// FIPS 180-4's examples (csrc.nist.gov, "SHA256.pdf") and the empty message.
    @Test(arguments: [false, true]) func publishedExamples(plain: Bool) {
        let examples = [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
            (
                "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
                "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"
            ),
            (
                String(repeating: "a", count: 1_000_000),
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
            ),
        ]
        for (message, expected) in examples {
            let digest = Self.digest(Array(message.utf8), plain: plain)
            #expect(Self.hexadecimal(digest) == expected, "\(message.count) bytes, plain \(plain)")
        }
    }

    /// Byte i is i·i·7 + i/8. Made by Python:
    /// `hashlib.sha256(bytes((i * i * 7 + (i >> 3)) & 255 for i in range(n))).hexdigest()`
    static func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 * $0 * 7 + $0 >> 3) } }

    static let lengths: [(Int, String)] = [
        (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (3, "172cd22f30f7e1df3781ab6fa1ea21aa86ac9a2235686099771b1f13e5827390"),
        (31, "147ec3f2a5040a0c4e66ab7cc42cad87ab6fed49b1e6d3a15bc588a5d1583747"),
        (55, "e5548c386d90192a8dfc25bb3d01bcf5373cce9a2e53d931cf52516aae01af51"),
        (56, "d0e7abfc97a168b30f6298c36326618f1165cbce815031fed047d4cf92e400cb"),
        (57, "9a35221ec5bda31eac500f168bc3194e33a4c2b854cca3fb9207137f264bff06"),
        (63, "0ad9d3e6020f41ceebce82a3427968d9c0ffdaaa26651e2ff4a61f6e8ee04d2a"),
        (64, "899832763371ab77af589d3fee6b9179c9baa8bbbb75e17eba123fa1e5c17a99"),
        (65, "a7e26d40c3585afd0199725569c05379af2df1c716a7b8718175de13c083c67a"),
        (119, "7c86f82e3b03dea3e2f0e4235be2057187171913441a07696cc53424b6db168a"),
        (120, "a8045f9e56e0df7202e7297c0c2167f73e871aec97eb436f6ce228de8ce964b6"),
        (127, "9def518150894778c7d93097e7f3a68f0a9400b4aa03b696d0bd5cd0179dac8c"),
        (128, "9b14cba69088e765e6cc3c478dcd0afbf05a555effa306fa2f35666b3174eca7"),
        (129, "e6c9ce97d123a27528c4c6b0d009e3a54988327418ae61ee097c5c26016daaaa"),
        (1000, "dec37d458ef9d475f05e0c5d446681fc630c56102e5d1d550d1f81e3dfbd5c67"),
        (4095, "475549d11c011c7bd00c89f7272ffcd8855364d9619a0121b35c0c5bb55f2b4a"),
        (4096, "4209b6a318519dacffa8b8241d7cf703a4cfae4c492067eeac648d08de20ee88"),
        (65537, "0fd83581a3450f612c00ed22f17a390fd45600801494e997a46ca8e396b40620"),
        (1_000_003, "48517efd586447517837e5bfcf876a760e9b8dcddb90ec559c1eac7e418bfb1f"),
    ]

    @Test(arguments: [false, true]) func everyLengthAroundABlock(plain: Bool) {
        for (count, expected) in Self.lengths {
            let digest = Self.digest(Self.bytes(count), plain: plain)
            #expect(Self.hexadecimal(digest) == expected, "\(count) bytes, plain \(plain)")
        }
        // The digest of the digests of the first 0, 1, 2 … 999 bytes.
        let all = Self.bytes(999)
        let digests = (0..<1000).flatMap { Self.digest(Array(all.prefix($0)), plain: plain) }
        #expect(
            Self.hexadecimal(Self.digest(digests, plain: plain))
                == "621cce811ffcfdd3fea2bff39686091b138b5993a9f33ec1f9c03e7eddc2ddae")
    }

    /// However the bytes come, the digest is that of all of them.
    @Test(arguments: [false, true]) func pieces(plain: Bool) {
        let bytes = Self.bytes(10_007)
        let whole = Self.digest(bytes, plain: plain)
        for most in [1, 2, 63, 64, 65, 200, 5000] {
            var random = Random(most)
            #expect(Self.digest(bytes, plain: plain) { random.below(most + 1) } == whole, "pieces of at most \(most)")
        }
        var once = [UInt8](repeating: 0, count: 32)
        // A copy of a digest in progress is one of its own.
        var first = deml_sha256()
        deml_sha256_begin(&first, plain)
        deml_sha256_update(&first, bytes, 5000)
        var second = first
        deml_sha256_update(&first, [1, 2, 3], 3)
        bytes.withUnsafeBytes { deml_sha256_update(&second, $0.baseAddress.map { $0 + 5000 }, bytes.count - 5000) }
        deml_sha256_end(&second, &once)
        #expect(once == whole)
    }
}
