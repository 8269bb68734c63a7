#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Bytes that this process may still take: the smallest of what the machine, its control groups and its resource limits
/// leave, less a reserve for the program's own pages. Elsewhere than on Linux, all memory of the machine.
///
/// A machine that has given its last page either ends the program or, and that can last for minutes, drops the pages of
/// its code and reads them back one by one. Better to ask before.
public func availableMemory() -> Int {
    let reserve = 16 << 20
    return max(0, (MemoryAccounts.ofThisProcess.available() ?? machineMemory()) - reserve)
}

private func machineMemory() -> Int {
    let bytes = sysconf(Int32(_SC_PHYS_PAGES)).multipliedReportingOverflow(by: sysconf(Int32(_SC_PAGESIZE)))
    return bytes.overflow || bytes.partialValue <= 0 ? Int.max : bytes.partialValue
}

/// Where Linux says how much memory there is and who may have it. Whatever cannot be read or understood is no limit.
package struct MemoryAccounts: Sendable {
    /// Before every path: the root of a folder tree of its own in tests.
    private let root: String
    /// Read once: a network is built for every job of a simulated client, and where things are mounted does not change.
    private let mounts: [ControlGroupMount]

    static let ofThisProcess = MemoryAccounts()

    package init(root: String = "") {
        self.root = root
        mounts = ControlGroupMount.parse(Self.text(of: root + "/proc/self/mountinfo"))
    }

    /// The smallest of all; nil where the system keeps no such accounts.
    package func available() -> Int? {
        guard let machine = machine() else { return nil }
        return ([machine] + controlGroups() + resourceLimits()).min()
    }

    /// What proc(5) calls MemAvailable, and free swap.
    private func machine() -> Int? {
        let text = text(of: "/proc/meminfo")
        guard let available = Self.kibibytes("MemAvailable", in: text) else { return nil }
        return available + (Self.kibibytes("SwapFree", in: text) ?? 0)
    }

    // MARK: - Control groups

    /// What each control group that this process is in, and each above it, leaves: limit less usage, where pages of
    /// files that nobody used lately count as free, because the kernel drops them first (`inactive_file`). Swap is not
    /// counted: a training that swaps does not end.
    ///
    /// Version 2: https://docs.kernel.org/admin-guide/cgroup-v2.html. Version 1:
    /// https://docs.kernel.org/admin-guide/cgroup-v1/memory.html. Both may be mounted; a limit is kept by only one.
    private func controlGroups() -> [Int] {
        var free: [Int] = []
        for line in text(of: "/proc/self/cgroup").split(separator: "\n") {
            // hierarchy:controllers:path; a path may have colons.
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let isUnified = fields[0] == "0" && fields[1].isEmpty
            guard isUnified || fields[1].split(separator: ",").contains("memory") else { continue }
            for mount in mounts where mount.isUnified == isUnified {
                for folder in mount.folders(of: String(fields[2])) {
                    if let left = self.free(in: folder, isUnified: isUnified) { free.append(left) }
                }
            }
        }
        return free
    }

    private func free(in folder: String, isUnified: Bool) -> Int? {
        func number(_ name: String) -> Int? { Self.number(text(of: "\(folder)/\(name)")) }
        // "max" stands for no limit.
        guard let limit = number(isUnified ? "memory.max" : "memory.limit_in_bytes"),
            let usage = number(isUnified ? "memory.current" : "memory.usage_in_bytes")
        else { return nil }
        let key = isUnified ? "inactive_file " : "total_inactive_file "
        let inactive = Self.rest(ofLine: key, in: text(of: "\(folder)/memory.stat")).flatMap { Self.number(String($0)) }
        return max(0, limit - max(0, usage - (inactive ?? 0)))
    }

    // MARK: - Resource limits

    /// What setrlimit(2) leaves of address space and data.
    private func resourceLimits() -> [Int] {
        let status = text(of: "/proc/self/status")
        let limits = text(of: "/proc/self/limits")
        return [("Max address space", "VmSize"), ("Max data size", "VmData")].compactMap { title, name in
            // The soft limit, in bytes; "unlimited" is no number.
            let soft = Self.rest(ofLine: title, in: limits)?.split(separator: " ").first
            guard let limit = soft.flatMap({ Self.number(String($0)) }), let used = Self.kibibytes(name, in: status)
            else { return nil }
            return max(0, limit - used)
        }
    }

    // MARK: - Text

    private func text(of path: String) -> String { Self.text(of: root + path) }

    /// The whole text: /proc gives at most a page at a time. Empty where there is none.
    private static func text(of path: String) -> String {
        (try? Files.prefix(of: path, count: 1 << 18)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// What follows `start` in the first line that starts with it. By bytes: characters take ten times as long.
    private static func rest(ofLine start: String, in text: String) -> Substring? {
        text.utf8.split(separator: UInt8(ascii: "\n")).first { $0.starts(with: start.utf8) }
            .map { Substring($0.dropFirst(start.utf8.count)) }
    }

    private static func number(_ text: String) -> Int? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard !digits.isEmpty, text.dropFirst(digits.count).allSatisfy(\.isWhitespace) else { return nil }
        // A number beyond Int is as good as the largest.
        return Int(digits) ?? .max
    }

    /// The number of a line such as `MemAvailable:    1234 kB`, in bytes.
    private static func kibibytes(_ name: String, in text: String) -> Int? {
        let digits = rest(ofLine: "\(name):", in: text)?.drop { !$0.isNumber }.prefix { $0.isNumber }
        return digits.flatMap { Int($0) }.map { min($0, Int.max >> 12) << 10 }
    }
}

/// A place where a hierarchy of control groups can be seen: one line of /proc/self/mountinfo (proc(5)).
struct ControlGroupMount: Equatable {
    var isUnified: Bool
    /// The group that lies at the mount point: a container sees only its own part of the hierarchy.
    var rootGroup: String
    var point: String

    /// The mounts of cgroup v2, and of the v1 hierarchy that keeps memory.
    static func parse(_ mountinfo: String) -> [ControlGroupMount] {
        mountinfo.split(separator: "\n").compactMap { line in
            // id parent device root point options [optional…] - type source options
            let fields = line.split(separator: " ")
            guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 3 else { return nil }
            let isUnified = fields[dash + 1] == "cgroup2"
            guard
                isUnified
                    || fields[dash + 1] == "cgroup" && fields[dash + 3].split(separator: ",").contains("memory")
            else { return nil }
            return ControlGroupMount(
                isUnified: isUnified, rootGroup: unescaped(fields[3]), point: unescaped(fields[4]))
        }
    }

    /// The folders of a group and of all above it that can be seen here. A group that lies outside what is mounted (a
    /// container that was not given a view of its own) is under the limits of the mount point at least.
    func folders(of group: String) -> [String] {
        let inner: Substring
        if rootGroup == "/" {
            inner = group[...]
        } else if group == rootGroup || group.hasPrefix(rootGroup + "/") {
            inner = group.dropFirst(rootGroup.count)
        } else {
            inner = ""
        }
        var names = inner.split(separator: "/")
        if names.contains("..") { names = [] }
        return (0...names.count).map { depth in
            ([point == "/" ? "" : point] + names.prefix(depth).map(String.init)).joined(separator: "/")
        }
    }

    /// The kernel writes space, tab, newline and backslash as three octal digits.
    private static func unescaped(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy({ (48...55).contains($0) }) {
                bytes.append(UInt8(truncatingIfNeeded: digits.reduce(0) { $0 << 3 | (Int($1) - 48) }))
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
