#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Bytes that this process may still take: what Linux calls MemAvailable, and free swap (proc(5)), less a reserve for the
/// program's own pages. Elsewhere, all memory of the machine.
///
/// A machine that has given its last page either ends the program or, and that can last for minutes, drops the pages of
/// its code and reads them back one by one. Better to ask before.
public func availableMemory() -> Int {
    let reserve = 16 << 20
    if let text = smallFile("/proc/meminfo"), let available = kibibytes("MemAvailable", in: text) {
        return max(0, (available + (kibibytes("SwapFree", in: text) ?? 0)) << 10 - reserve)
    }
    let bytes = sysconf(Int32(_SC_PHYS_PAGES)).multipliedReportingOverflow(by: sysconf(Int32(_SC_PAGESIZE)))
    return bytes.overflow || bytes.partialValue <= 0 ? Int.max : max(0, bytes.partialValue - reserve)
}

/// The number of a line such as `MemAvailable:    1234 kB`.
private func kibibytes(_ name: String, in text: String) -> Int? {
    for line in text.split(separator: "\n") where line.hasPrefix("\(name):") {
        return line.split(separator: " ").dropFirst().first.flatMap { Int($0) }
    }
    return nil
}

/// The first 8 KiB of a file; nil if it cannot be read.
private func smallFile(_ path: String) -> String? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    let bytes = [UInt8](unsafeUninitializedCapacity: 8192) { buffer, count in
        count = max(0, read(file, buffer.baseAddress, buffer.count))
    }
    return String(decoding: bytes, as: UTF8.self)
}
