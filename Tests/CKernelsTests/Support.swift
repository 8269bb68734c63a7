import CKernels
import Testing

struct Pool {
    let pointer: OpaquePointer
    let name: String
}

/// Runs `body` with a pool of its own.
func withPool<Result>(
    _ isa: deml_isa = deml_isa_default(), threads: Int, _ body: (Pool) throws -> Result
) throws -> Result {
    let pointer = try #require(deml_pool_create(threads, isa))
    defer { deml_pool_destroy(pointer) }
    return try body(Pool(pointer: pointer, name: "\(String(cString: deml_isa_name(isa))) with \(threads) threads"))
}

/// Every instruction set this machine can run; the portable one is always there.
let instructionSets: [deml_isa] = (0..<DEML_ISA_COUNT.rawValue).map { deml_isa(rawValue: $0) }
    .filter { deml_isa_available($0) }

/// Runs `body` with every instruction set and several numbers of threads.
func withEveryPool(threads: [Int] = [1, 2, 3, 5], _ body: (Pool) throws -> Void) throws {
    for isa in instructionSets {
        for count in threads { try withPool(isa, threads: count, body) }
    }
}

/// Small repeatable pseudo-random numbers (SplitMix64).
struct Random {
    var state: UInt64

    init(_ seed: Int) { state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
    mutating func uniform(_ range: ClosedRange<Float> = -1...1) -> Float {
        range.lowerBound + Float(next() >> 40) / Float(1 << 24) * (range.upperBound - range.lowerBound)
    }
    mutating func floats(_ count: Int, _ range: ClosedRange<Float> = -1...1) -> [Float] {
        (0..<count).map { _ in uniform(range) }
    }
}

/// Where the kernels keep the weight of input `i` and output `o`: in blocks of 64 outputs, the last with what is left.
func weightIndex(_ i: Int, _ o: Int, _ inputs: Int, _ out: Int) -> Int {
    let blocks = max(1, out / 64)
    let first = min(o / 64, blocks - 1) * 64
    let width = first == (blocks - 1) * 64 ? out - first : 64
    return first * inputs + i * width + o - first
}

/// The first place where two arrays differ in any bit; nil if there is none.
func firstDifference(_ a: [Float], _ b: [Float]) -> String? {
    guard a.count == b.count else { return "counts \(a.count) and \(b.count)" }
    for i in a.indices where a[i].bitPattern != b[i].bitPattern { return "element \(i): \(a[i]) and \(b[i])" }
    return nil
}

/// a·b + c, rounded once.
func fused(_ a: Float, _ b: Float, _ c: Float) -> Float { c.addingProduct(a, b) }

/// Runs `body` with every pool; all results must have the bytes of the portable one with one thread, which is returned.
func sameOnEveryPool(_ what: String, _ body: (OpaquePointer) -> [Float]) throws -> [Float] {
    let reference = try withPool(DEML_PORTABLE, threads: 1) { body($0.pointer) }
    try withEveryPool { pool in
        let difference = firstDifference(body(pool.pointer), reference)
        #expect(difference == nil, "\(what), \(pool.name) and portable with one")
    }
    return reference
}

/// `count` floats written by `body`; every element must be written, or it stays NaN.
func output(_ count: Int, _ body: (UnsafeMutablePointer<Float>) -> Void) -> [Float] {
    [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
        buffer.initialize(repeating: .nan)
        if let base = buffer.baseAddress { body(base) }
        initialized = count
    }
}

/// Expects |a - b| ≤ tolerance·(1 + |b|) everywhere.
func expectClose(_ a: [Float], _ b: [Double], _ tolerance: Double, _ what: String) {
    #expect(a.count == b.count, "\(what)")
    for (i, (x, y)) in zip(a, b).enumerated() where !(abs(Double(x) - y) <= tolerance * (1 + abs(y))) {
        #expect(Bool(false), "\(what): element \(i) is \(x), expected \(y)")
        return
    }
}

/// A sink that only keeps the gradient.
func gradientSink(_ gradient: UnsafeMutablePointer<Float>) -> deml_sink {
    deml_sink(gradient: gradient, optimizer: nil, value: nil, state1: nil, state2: nil)
}
