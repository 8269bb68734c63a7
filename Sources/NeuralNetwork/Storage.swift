import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Owns the arrays of a network: allocated once, zeroed, 64-byte aligned, freed together.
final class Storage {
    private var blocks: [UnsafeMutableRawPointer] = []
    /// Bytes allocated so far.
    private(set) var byteCount = 0

    /// Memory of this machine.
    private static let physicalBytes: Int = {
        let bytes = sysconf(Int32(_SC_PHYS_PAGES)).multipliedReportingOverflow(by: sysconf(Int32(_SC_PAGESIZE)))
        return bytes.overflow || bytes.partialValue <= 0 ? Int.max : bytes.partialValue
    }()

    func allocate<Element: BitwiseCopyable>(
        _: Element.Type, _ count: Int
    ) throws(DeMLError) -> UnsafeMutablePointer<Element> {
        let (size, overflow) = max(count, 1).multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
        // Asked beforehand, because a system that promises more than it has ends the program when it is used.
        var block: UnsafeMutableRawPointer?
        guard !overflow, size <= Self.physicalBytes - byteCount, posix_memalign(&block, 64, size) == 0, let block else {
            throw DeMLError(
                .tooLarge,
                "the model's arrays need more than the \(Self.physicalBytes >> 20) MiB of memory of this machine",
                hint: "a smaller batch needs less")
        }
        memset(block, 0, size)
        blocks.append(block)
        byteCount += size
        return block.bindMemory(to: Element.self, capacity: count)
    }

    func floats(_ count: Int) throws(DeMLError) -> UnsafeMutablePointer<Float> {
        try allocate(Float.self, count)
    }

    deinit {
        for block in blocks { free(block) }
    }
}
