import Tensors
import Testing

/// What Linux says, as a folder tree of its own: the numbers of `available()` are worked out by hand.
@Suite struct AvailableMemoryTests {
    static let mebibyte = 1 << 20

    /// A tree of files by their paths; `available()` of it.
    private func available(_ files: [String: String]) throws -> Int? {
        let root = "/tmp/deml-memory-tests-\(UInt64.random(in: .min ... .max))"
        var folders: Set<String> = [root]
        defer {
            for path in files.keys { try? Files.remove(root + path) }
            for folder in folders.sorted(by: { $0.utf8.count > $1.utf8.count }) { _ = removeFolder(folder) }
        }
        for (path, text) in files {
            var folder = Files.parent(of: root + path)
            while let name = folder, name.utf8.count > root.utf8.count {
                folders.insert(name)
                folder = Files.parent(of: name)
            }
            try Files.createDirectory(Files.parent(of: root + path) ?? root)
            try Files.writeAtomically(Array(text.utf8), to: root + path)
        }
        return MemoryAccounts(root: root).available()
    }

    /// A machine with 8 GiB available and 1 GiB of swap.
    static let machine = [
        "/proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable:    8388608 kB\nSwapTotal: 1 kB\nSwapFree: 1048576 kB\n",
        "/proc/self/limits": """
        Limit                     Soft Limit           Hard Limit           Units
        Max data size             unlimited            unlimited            bytes
        Max address space         unlimited            unlimited            bytes

        """,
        "/proc/self/status": "Name:\tdeml\nVmSize:\t  204800 kB\nVmData:\t  102400 kB\n",
    ]

    static let unified = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate\n"
    static let memoryOnly = """
        31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
        32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory

        """

    @Test func theMachineAlone() throws {
        #expect(try available(Self.machine) == 9 << 30)
        #expect(try available(["/proc/meminfo": "MemAvailable: 4 kB\n"]) == 4096)
        #expect(try available(["/proc/meminfo": "MemTotal: 4 kB\n"]) == nil)
        #expect(try available(["/proc/meminfo": "MemAvailable: 99999999999999999 kB\n"]) ?? 0 > 1 << 60)
        #expect(try available([:]) == nil)
    }

    @Test func aGroupOfVersion2() throws {
        var files = Self.machine
        files["/proc/self/mountinfo"] = Self.unified
        files["/proc/self/cgroup"] = "0::/system.slice/deml:1.service\n"
        let group = "/sys/fs/cgroup/system.slice/deml:1.service"
        files["\(group)/memory.max"] = "max\n"
        files["\(group)/memory.current"] = "1048576\n"
        #expect(try available(files) == 9 << 30, "max is no limit")
        files["\(group)/memory.max"] = "\(512 << 20)\n"
        #expect(try available(files) == 511 << 20)
        files["\(group)/memory.stat"] = "anon 5\nfile 7000000\ninactive_file 524288\nactive_file 1\n"
        #expect(try available(files) == 511 << 20 + 1 << 19, "cached pages of files count as free")
        files["\(group)/memory.stat"] = "inactive_file 999999999999\n"
        #expect(try available(files) == 512 << 20, "never more than the limit")
        files["\(group)/memory.current"] = "\(600 << 20)\n"
        files["\(group)/memory.stat"] = ""
        #expect(try available(files) == 0)
    }

    @Test func theTightestGroupAboveCounts() throws {
        var files = Self.machine
        files["/proc/self/mountinfo"] = Self.unified
        files["/proc/self/cgroup"] = "0::/a/b/c\n"
        for (group, limit) in [("/a", 300), ("/a/b", 200), ("/a/b/c", 400)] {
            files["/sys/fs/cgroup\(group)/memory.max"] = "\(limit << 20)\n"
            files["/sys/fs/cgroup\(group)/memory.current"] = "0\n"
        }
        #expect(try available(files) == 200 << 20)
        files["/sys/fs/cgroup/a/memory.current"] = "\(250 << 20)\n"
        #expect(try available(files) == 50 << 20)
        // A container with its own view: its group is the root of what it sees.
        files["/proc/self/cgroup"] = "0::/\n"
        files["/sys/fs/cgroup/memory.max"] = "\(100 << 20)\n"
        files["/sys/fs/cgroup/memory.current"] = "0\n"
        #expect(try available(files) == 100 << 20)
        // A group outside of what can be seen.
        files["/proc/self/cgroup"] = "0::/../../elsewhere\n"
        #expect(try available(files) == 100 << 20)
    }

    @Test func aGroupOfVersion1() throws {
        var files = Self.machine
        files["/proc/self/mountinfo"] = Self.memoryOnly
        files["/proc/self/cgroup"] = "9:name=systemd:/\n4:cpuset,memory:/jobs/one\n1:cpu:/jobs/two\n0::/\n"
        let group = "/sys/fs/cgroup/memory/jobs/one"
        files["\(group)/memory.limit_in_bytes"] = "9223372036854771712\n"
        files["\(group)/memory.usage_in_bytes"] = "4096\n"
        #expect(try available(files) == 9 << 30, "the largest number is no limit")
        files["\(group)/memory.limit_in_bytes"] = "\(64 << 20)\n"
        files["\(group)/memory.usage_in_bytes"] = "\(32 << 20)\n"
        files["\(group)/memory.stat"] = "inactive_file 9\ntotal_inactive_file \(8 << 20)\n"
        #expect(try available(files) == 40 << 20)
        files["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "\(20 << 20)\n"
        files["/sys/fs/cgroup/memory/memory.usage_in_bytes"] = "0\n"
        #expect(try available(files) == 20 << 20)
    }

    /// What Docker gives on a machine with version 1: the group's name is that of the host, the mount shows the group
    /// alone.
    @Test func aContainerOfVersion1() throws {
        var files = Self.machine
        files["/proc/self/mountinfo"] = """
            700 690 0:32 /docker/4f1c /sys/fs/cgroup/with\\040space ro,nosuid master:15 - cgroup cgroup rw,memory

            """
        files["/proc/self/cgroup"] = "4:memory:/docker/4f1c\n"
        files["/sys/fs/cgroup/with space/memory.limit_in_bytes"] = "\(64 << 20)\n"
        files["/sys/fs/cgroup/with space/memory.usage_in_bytes"] = "0\n"
        #expect(try available(files) == 64 << 20)
        files["/proc/self/cgroup"] = "4:memory:/docker/4f1c/inner\n"
        #expect(try available(files) == 64 << 20)
        files["/sys/fs/cgroup/with space/inner/memory.limit_in_bytes"] = "\(32 << 20)\n"
        files["/sys/fs/cgroup/with space/inner/memory.usage_in_bytes"] = "0\n"
        #expect(try available(files) == 32 << 20)
    }

    @Test func resourceLimitsCount() throws {
        var files = Self.machine
        files["/proc/self/limits"] = """
            Limit                     Soft Limit           Hard Limit           Units
            Max data size             209715200            unlimited            bytes
            Max address space         unlimited            unlimited            bytes

            """
        #expect(try available(files) == 100 << 20)
        files["/proc/self/limits"] = "Max address space         262144000            262144000            bytes\n"
        #expect(try available(files) == 50 << 20)
    }

    @Test func nonsenseIsNoLimit() throws {
        var files = Self.machine
        for text in ["", "-1\n", "many\n", "12 apples\n", "\u{0}\n"] {
            files["/proc/self/mountinfo"] = Self.unified + "- - -\n" + text
            files["/proc/self/cgroup"] = "0::/a\n:::::\n\(text)"
            files["/sys/fs/cgroup/a/memory.max"] = text
            files["/sys/fs/cgroup/a/memory.current"] = text
            files["/proc/self/limits"] = "Max data size\nMax address space x\(text)"
            #expect(try available(files) == 9 << 30, "\(text.quotedForMessage)")
        }
    }

    @Test func thisMachineHasMemory() {
        let free = availableMemory()
        #expect(free > 1 << 20 && free < 1 << 50, "\(free) bytes")
    }

    /// More than a page of /proc comes in several pieces.
    @Test func prefixesAreReadToTheirEnd() throws {
        let text = try Files.prefix(of: "/proc/self/maps", count: 1 << 20)
        #expect(text.count > 4096 && text.last == UInt8(ascii: "\n"))
        #expect(try Files.prefix(of: "/proc/self/maps", count: 10).count == 10)
    }
}
