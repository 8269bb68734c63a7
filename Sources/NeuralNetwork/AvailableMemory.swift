import Tensors

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
    let text = (try? Files.prefix(of: "/proc/meminfo", count: 8192)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    if let available = kibibytes("MemAvailable", in: text) {
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
