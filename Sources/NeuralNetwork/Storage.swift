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
    /// Of these, the bytes allocated since the system was last asked what it has left.
    private var unasked = 0

    func allocate<Element: BitwiseCopyable>(
        _: Element.Type, _ count: Int
    ) throws(DeMLError) -> UnsafeMutablePointer<Element> {
        let (size, overflow) = max(count, 1).multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
        // Asked beforehand: a system promises more than it has, and ends the program when that is used.
        let asks = overflow || size >= 1 << 20 - unasked
        let isFree = !overflow && (!asks || size <= availableMemory())
        var block: UnsafeMutableRawPointer?
        guard isFree, posix_memalign(&block, 64, size) == 0, let block else {
            throw DeMLError(
                .tooLarge,
                "the model's arrays need more memory than there is: \(byteCount >> 20) MiB are taken, the next needs "
                    + "\((overflow ? Int.max : size) >> 20) MiB, and \(availableMemory() >> 20) MiB are free",
                hint: "a smaller batch needs less; or take a machine with more memory")
        }
        memset(block, 0, size)
        blocks.append(block)
        byteCount += size
        unasked = asks ? 0 : unasked + size
        return block.bindMemory(to: Element.self, capacity: count)
    }

    func floats(_ count: Int) throws(DeMLError) -> UnsafeMutablePointer<Float> {
        try allocate(Float.self, count)
    }

    deinit {
        for block in blocks { free(block) }
    }
}
