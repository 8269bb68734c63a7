import SHA3

/// An image as a file: a squashfs with a trailer of eight digits.
public enum ImageFile {
    /// SHA3-224 of a file, in hex, after a look at whether it is an image. Reads it in pieces of a megabyte.
    ///
    /// - Throws: `notFound`, `malformed` for a file that is no image, `io`, `CancellationError`.
    public static func hash(of path: String) async throws -> String {
        guard LocalFile.exists(path) else { throw GolemError(.notFound, "there is no image", place: path) }
        let file = try LocalFile(path, .read)
        let size = try file.size()
        let begin = try file.read(at: 0, count: 4)
        let end = try file.read(at: max(0, size - 8), count: 8)
        guard begin == Array("hsqs".utf8), size >= 12, end.count == 8, end.allSatisfy({ (0x30...0x39).contains($0) })
        else {
            throw GolemError(
                .malformed, "this is no Golem image: it is not a squashfs with a trailer", place: path,
                hint: "gvmkit-build makes images")
        }
        var hash = SHA3.bits224()
        var offset = 0
        while offset < size {
            try Task.checkCancellation()
            let piece = try file.read(at: offset, count: min(1 << 20, size - offset))
            guard !piece.isEmpty else {
                throw GolemError(.io, "the file became shorter while it was read", place: path)
            }
            hash.update(piece)
            offset += piece.count
            await Task.yield()
        }
        return hash.hexDigest()
    }
}
