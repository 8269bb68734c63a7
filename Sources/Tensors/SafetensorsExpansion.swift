extension Safetensors {
    /// Expands a gzip file into a file, piece by piece: for one whose content is larger than memory. The content must be as
    /// long as its header says, and no more is written. Returns the SHA-256 of the compressed file.
    ///
    /// Throws what reading throws, and what writing throws.
    @discardableResult
    public static func expand(_ path: String, to target: String) throws(DeMLError) -> String {
        let stored = ByteRegion(try MappedFile(path))
        let file = try DurableFile(target)
        do throws(DeMLError) {
            var reader = try GzipReader(stored)
            let prefix = try makeBytes(capacity: 8) { (room) throws(DeMLError) in try reader.read(into: room) }
            let length = try SafetensorsHeader.length(prefix, maximum: 100_000_000)
            let json = try makeBytes(capacity: length) { (room) throws(DeMLError) in try reader.read(into: room) }
            guard json.count == length else {
                throw DeMLError(.truncated, "the header length \(length) is beyond the end of the file")
            }
            let header = try json[...].withBytes { (json: UnsafeRawBufferPointer) throws(DeMLError) in
                try SafetensorsHeader(parsing: json)
            }
            guard header.dataBytes / Gzip.maximumExpansion <= stored.count else {
                throw DeMLError(
                    .truncated,
                    "the tensors need \(header.dataBytes) bytes, more than \(stored.count) compressed bytes can give")
            }
            try file.write(prefix)
            try file.write(json)
            var left = header.dataBytes
            while left > 0 {
                let piece = try makeBytes(capacity: min(left, 1 << 20)) { (room) throws(DeMLError) in
                    try reader.read(into: room)
                }
                guard !piece.isEmpty else {
                    throw DeMLError(
                        .truncated,
                        "the tensors need \(header.dataBytes) bytes, but the file has \(header.dataBytes - left)")
                }
                try file.write(piece)
                left -= piece.count
            }
            guard try reader.isAtEnd() else {
                throw DeMLError(
                    .tooLarge, "the gzip stream expands beyond the \(8 + length + header.dataBytes) bytes it promises")
            }
        } catch {
            throw error.within(path)
        }
        try file.commit()
        return stored.sha256()
    }
}
