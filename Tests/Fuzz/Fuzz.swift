import ArgumentParser
import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A seeded mutation loop over everything that is read from strangers.
///
/// The parent process runs the loop in a child with limited memory. The child writes each input into a shared mapping
/// before it is tried, so that the input that killed it is known to the parent, which saves it.
@main struct Fuzz: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deml-fuzz",
        abstract: "Tries damaged files on every reader until the time is up.",
        discussion: "Fails where a reader crashes, hangs, takes too much memory, throws anything but a DeMLError, or"
            + " reads something that it does not read back the same. The input is saved.")

    @Option(help: "How long to run, in all.") var seconds = 60.0
    @Option(help: "The random numbers. The same seed tries the same inputs, as far as the time reaches.") var seed:
        UInt64 = 0
    @Option(help: "Limit of the address space.") var maximumMemoryMb = 512
    @Option(help: ArgumentHelp("Only this reader.", valueName: "name")) var target: [String] = []
    @Option(help: "A folder for the inputs that fail.") var output = "."
    @Option(help: "Try this one file on the readers named by --target, and nothing else.") var input: String?
    @Flag(help: .hidden) var child = false

    func validate() throws {
        let known = FuzzTarget.all.map(\.name)
        for name in target where !known.contains(name) {
            throw ValidationError("there is no reader \(name); there are \(known.joined(separator: ", "))")
        }
        guard seconds > 0, seconds < 1e6, maximumMemoryMb >= 64 else {
            throw ValidationError("the time must be positive, the memory at least 64 MB")
        }
    }

    func run() throws {
        let targets = FuzzTarget.all.filter { target.isEmpty || target.contains($0.name) }
        if child {
            try FuzzLoop(targets: targets, seed: seed, seconds: seconds, scratch: scratch).run(memory: maximumMemoryMb)
        } else if let input {
            let bytes = try Files.read(input, maximumBytes: 1 << 30)
            for target in targets {
                print("\(target.name): \(try target.outcome(bytes))")
            }
        } else {
            try supervise()
        }
    }

    private var scratch: String { Files.path(output, "deml-fuzz-input.\(seed)") }

    /// Runs the child, waits for it no longer than it may take, and saves the input that ended it.
    private func supervise() throws {
        try Files.createDirectory(output)
        let arguments = CommandLine.arguments + ["--child"]
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var process: pid_t = 0
        guard posix_spawn(&process, "/proc/self/exe", nil, nil, &pointers, environ) == 0 else {
            throw DeMLError(.internal, "the fuzzing process cannot be started")
        }
        let deadline = now() + seconds + 30
        var status: Int32 = 0
        var isLate = false
        while waitpid(process, &status, WNOHANG) == 0 {
            if now() > deadline {
                isLate = true
                kill(process, SIGKILL)
                waitpid(process, &status, 0)
                break
            }
            usleep(100_000)
        }
        if status == 0 {
            try Files.remove(scratch)
            return
        }
        let reason = isLate ? "it hung" : status & 0x7f == 0 ? "it failed" : "it was ended by signal \(status & 0x7f)"
        guard let current = CurrentInput.read(scratch) else {
            throw DeMLError(.internal, "\(reason), and the input is not known")
        }
        let saved = Files.path(output, "fuzz-\(current.target)-\(sha256Hex(current.bytes).prefix(12))")
        try Files.writeAtomically(current.bytes, to: saved)
        try Files.remove(scratch)
        throw DeMLError(
            .internal, "\(current.target): \(reason)", place: saved,
            hint: "deml-fuzz --target \(current.target) --input \(saved)")
    }
}

/// Seconds of a clock that only goes forward.
func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// The input that is being tried, in a file that the kernel keeps when the process dies: the length of the target's
/// name, the name, the length of the input, the input.
struct CurrentInput {
    static let capacity = 1 << 20
    private let mapping: UnsafeMutableRawPointer

    init(_ path: String) throws {
        let file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600)
        guard file >= 0, ftruncate(file, off_t(Self.capacity)) == 0,
            let mapping = mmap(nil, Self.capacity, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), mapping != MAP_FAILED
        else { throw DeMLError(.io, "the file for the current input cannot be made", place: path) }
        close(file)
        self.mapping = mapping
    }

    func set(_ target: String, _ bytes: [UInt8]) {
        let name = Array(target.utf8)
        mapping.storeBytes(of: name.count, as: Int.self)
        (mapping + 8).copyMemory(from: name, byteCount: name.count)
        mapping.storeBytes(of: bytes.count, toByteOffset: 64, as: Int.self)
        (mapping + 72).copyMemory(from: bytes, byteCount: min(bytes.count, Self.capacity - 72))
    }

    static func read(_ path: String) -> (target: String, bytes: [UInt8])? {
        guard let file = try? Files.read(path, maximumBytes: capacity), file.count == capacity else { return nil }
        let nameCount = file.withUnsafeBytes { $0.load(as: Int.self) }
        let count = file.withUnsafeBytes { $0.load(fromByteOffset: 64, as: Int.self) }
        guard (1...56).contains(nameCount), (0...capacity - 72).contains(count) else { return nil }
        return (String(decoding: file[8..<8 + nameCount], as: UTF8.self), Array(file[72..<72 + count]))
    }
}
