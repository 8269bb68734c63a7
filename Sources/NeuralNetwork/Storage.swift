import CKernels
import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// The arrays of a network. The same code asks for them twice: of a storage that only counts, then, if there is as much
/// memory, of one that has them: zeroed, 64-byte aligned, freed together.
final class Storage {
    /// What has been asked for.
    private(set) var plan: MemoryPlan
    /// Whether this only counts. Then no array may be read or written.
    let isPlan: Bool
    /// What the next arrays belong to, as messages name it.
    var place = "the input"
    private var blocks: [UnsafeMutableRawPointer] = []
    private var records: [UnsafeMutableRawPointer] = []

    init(isPlan: Bool, threads: Int) {
        self.isPlan = isPlan
        plan = MemoryPlan(threads: threads)
    }

    func allocate<Element: BitwiseCopyable>(
        _: Element.Type, _ count: Int, for use: MemoryPlan.Use
    ) throws(DeMLError) -> UnsafeMutablePointer<Element> {
        let size = max(count, 1).multipliedSaturated(by: MemoryLayout<Element>.stride)
        plan.add(size, for: use, at: place)
        if isPlan {
            guard let nowhere = UnsafeMutablePointer<Element>(bitPattern: Self.alignment) else {
                preconditionFailure("the address is not null")
            }
            return nowhere
        }
        var block: UnsafeMutableRawPointer?
        guard size < .max, posix_memalign(&block, Self.alignment, size) == 0, let block else {
            throw DeMLError(
                .tooLarge, "there is no memory for \(size) bytes after \(plan.bytes - size)", place: place,
                hint: "take a machine with more memory")
        }
        memset(block, 0, size)
        blocks.append(block)
        return block.bindMemory(to: Element.self, capacity: count)
    }

    func floats(_ count: Int, for use: MemoryPlan.Use) throws(DeMLError) -> UnsafeMutablePointer<Float> {
        try allocate(Float.self, count, for: use)
    }

    /// A small record that the kernels read. It is there in a plan too, and is not counted.
    func record<Record: BitwiseCopyable>(_ value: Record) -> UnsafeMutablePointer<Record> {
        let record = UnsafeMutablePointer<Record>.allocate(capacity: 1)
        record.initialize(to: value)
        records.append(UnsafeMutableRawPointer(record))
        return record
    }

    /// Counts scratch memory of the kernels.
    func add(_ scratch: deml_scratch) {
        plan.add(scratch, at: place)
    }

    private static let alignment = 64

    deinit {
        for block in blocks { free(block) }
        for record in records { record.deallocate() }
    }
}
