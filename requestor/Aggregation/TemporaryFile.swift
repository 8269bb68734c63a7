import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Floats on disk for as long as this object lives. The file has no name once it is open, so nothing is left of it.
final class TemporaryFile: Sendable {
    private let file: Int32
    private let folder: String

    init(folder: String) throws(DeMLError) {
        self.folder = folder
        try Files.createDirectory(folder)
        let path = Files.path(folder, "deltas.\(getpid()).\(UInt32.random(in: .min ... .max)).tmp")
        file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            throw DeMLError(
                errno == ENOSPC ? .diskFull : .cannotCreate,
                "no temporary file can be created there: \(String(cString: strerror(errno)))", place: folder)
        }
        unlink(path)
    }

    deinit { close(file) }

    /// Writes values from the `index`-th float on.
    func write(_ values: [Float], at index: Int) throws(DeMLError) {
        let number = values.withUnsafeBytes { bytes in
            Self.move(bytes.count) { pwrite(file, bytes.baseAddress! + $0, bytes.count - $0, off_t(index * 4 + $0)) }
        }
        if let number { throw failure("a delta cannot be written", number) }
    }

    /// Reads `count` values from the `index`-th float on.
    func read(_ count: Int, at index: Int) throws(DeMLError) -> [Float] {
        var values = [Float](repeating: 0, count: count)
        try read(into: &values, 0..<count, at: index)
        return values
    }

    /// Reads values from the `index`-th float on into a part of an array.
    func read(into values: inout [Float], _ range: Range<Int>, at index: Int) throws(DeMLError) {
        let number = values.withUnsafeMutableBytes { bytes in
            let start = range.lowerBound * 4
            return Self.move(range.count * 4) {
                pread(file, bytes.baseAddress! + start + $0, range.count * 4 - $0, off_t(index * 4 + $0))
            }
        }
        if let number { throw failure("a delta cannot be read", number) }
    }

    /// Repeats a system call that moves bytes until all are moved; gives the error's number, 0 for an early end.
    private static func move(_ count: Int, _ call: (_ done: Int) -> Int) -> Int32? {
        var done = 0
        while done < count {
            let moved = call(done)
            if moved < 0, errno == EINTR { continue }
            guard moved > 0 else { return moved < 0 ? errno : 0 }
            done += moved
        }
        return nil
    }

    private func failure(_ what: String, _ number: Int32) -> DeMLError {
        let isFull = number == ENOSPC || number == EDQUOT
        let reason = number == 0 ? "the file is shorter" : String(cString: strerror(number))
        return DeMLError(
            isFull ? .diskFull : .io, "\(what): \(reason)", place: folder,
            hint: isFull ? "free some space and try again" : nil)
    }
}
