import Tensors

/// Mutations that know where a format keeps its lengths and checksums, so that what lies behind them is reached.
enum Structure {
    /// Half of the time the header's text is changed and its length put right.
    static func safetensors(_ input: [UInt8], _ other: [UInt8], _ mutator: inout Mutator) -> [UInt8] {
        guard input.count >= 8, !mutator.chance(3) else { return mutator.bytes(input, other: other) }
        let length = input[..<8].reversed().reduce(0) { ($0 & 0xff_ffff_ffff) << 8 | Int($1) }
        guard length <= input.count - 8 else { return mutator.bytes(input, other: other) }
        var header = Array(input[8..<8 + length])
        var data = Array(input[(8 + length)...])
        if mutator.chance(5) {
            data = mutator.bytes(data, other: other)
        } else {
            header = mutator.text(header, other: Array(other.dropFirst(8)), words: Seeds.words)
        }
        return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header + data
    }

    /// gzip around a mutated content, or a mutated gzip stream; what is not gzip is mutated as content.
    static func packed(
        _ input: [UInt8], _ other: [UInt8], _ mutator: inout Mutator,
        _ mutate: ([UInt8], [UInt8], inout Mutator) -> [UInt8]
    ) -> [UInt8] {
        guard Gzip.isGzip(input) else { return mutate(input, other, &mutator) }
        guard !mutator.chance(4), let content = try? Gzip.decompress(input, maximumBytes: 1 << 20) else {
            return mutator.bytes(input, other: other)
        }
        let otherContent = (try? Gzip.decompress(other, maximumBytes: 1 << 20)) ?? other
        let mutated = mutate(content, otherContent, &mutator)
        return (try? Gzip.compress(mutated, level: 1)) ?? mutated
    }

    /// The dictionary of an npy file, with its length put right.
    static func npy(_ input: [UInt8], _ other: [UInt8], _ mutator: inout Mutator) -> [UInt8] {
        guard input.count >= 10, !mutator.chance(4) else { return mutator.bytes(input, other: other) }
        let length = Int(input[8]) | Int(input[9]) << 8
        guard length <= input.count - 10 else { return mutator.bytes(input, other: other) }
        let header = mutator.text(Array(input[10..<10 + length]), other: other, words: Seeds.words)
        guard header.count <= 0xffff else { return mutator.bytes(input, other: other) }
        return input[..<8] + [UInt8(header.count & 255), UInt8(header.count >> 8)] + header + input[(10 + length)...]
    }
}

/// Zip files with stored or deflated members, as numpy writes them.
enum ZipWriter {
    static func archive(_ members: [(name: String, content: [UInt8])], deflate: Bool = false) -> [UInt8] {
        var file: [UInt8] = []
        var directory: [UInt8] = []
        for (name, content) in members {
            var stored = content
            if deflate, let packed = try? Gzip.compress(content) { stored = Array(packed[10..<packed.count - 8]) }
            let fields =
                little(deflate ? 8 : 0, 2) + little(0, 4) + little(Int(crc32(content[...])), 4)
                + little(stored.count, 4) + little(content.count, 4) + little(name.utf8.count, 2)
            directory += little(0x0201_4b50, 4) + little(20, 2) + little(20, 2) + little(0, 2) + fields
            directory +=
                little(0, 2) + little(0, 2) + little(0, 2) + little(0, 2) + little(0, 4) + little(file.count, 4)
            directory += Array(name.utf8)
            file += little(0x0403_4b50, 4) + little(20, 2) + little(0, 2) + fields + little(0, 2)
            file += Array(name.utf8) + stored
        }
        let end =
            little(0x0605_4b50, 4) + little(0, 4) + little(members.count, 2) + little(members.count, 2)
            + little(directory.count, 4) + little(file.count, 4) + little(0, 2)
        return file + directory + end
    }

    private static func little(_ value: Int, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
}
