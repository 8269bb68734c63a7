import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

extension RunFolder {
    /// The process that works on the run, whoever has started it: the one whose lock the kernel shows (`/proc/PID/fdinfo`).
    /// Nil where nobody does, or where it belongs to another user.
    public var processAtWork: Int32? {
        OpenFile.processes(having: lock) { fdinfo in fdinfo.contains("OFDLCK") && fdinfo.contains("WRITE") }.first
    }
}

/// Which processes have a file open, as far as this user may know (Linux; nobody elsewhere).
public enum OpenFile {
    /// - Parameter matches: given what `/proc/PID/fdinfo/N` says of the open file.
    public static func processes(having path: String, where matches: (String) -> Bool = { _ in true }) -> [Int32] {
        var wanted = stat()
        guard stat(path, &wanted) == 0 else { return [] }
        var found: [Int32] = []
        for name in (try? Files.names(in: "/proc")) ?? [] {
            guard let process = Int32(name), let files = try? Files.names(in: "/proc/\(name)/fd") else { continue }
            for file in files {
                var status = stat()
                guard stat("/proc/\(name)/fd/\(file)", &status) == 0, status.st_ino == wanted.st_ino,
                    status.st_dev == wanted.st_dev,
                    let text = try? Files.prefix(of: "/proc/\(name)/fdinfo/\(file)", count: 4096),
                    matches(String(decoding: text, as: UTF8.self))
                else { continue }
                found.append(process)
                break
            }
        }
        return found
    }
}
