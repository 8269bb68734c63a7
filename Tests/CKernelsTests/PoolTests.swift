import CKernels
import Foundation
import Testing

@Suite struct PoolTests {
    @Test func namesAndAvailability() {
        #expect(deml_isa_available(DEML_PORTABLE))
        #expect(deml_isa_available(deml_isa_default()))
        #expect(String(cString: deml_isa_name(DEML_AVX512)) == "avx512")
        for raw in 0..<DEML_ISA_COUNT.rawValue where !deml_isa_available(deml_isa(rawValue: raw)) {
            #expect(deml_pool_create(1, deml_isa(rawValue: raw)) == nil)
        }
        #expect(deml_pool_create(0, DEML_PORTABLE) == nil)
    }

    /// Many tiny calls in a row with far more threads than processors: each must see its own arguments, and all of it
    /// must end soon (a pool that spins while others wait for the processor takes minutes here).
    @Test(.timeLimit(.minutes(2))) func moreThreadsThanProcessors() throws {
        let x = [Float](repeating: 1, count: 400_000)
        var y = [Float](repeating: 0, count: x.count)
        try withPool(threads: 4 * ProcessInfo.processInfo.activeProcessorCount + 1) { pool in
            for round in 1...200 {
                deml_add(pool.pointer, x.count, x, &y)
                if round % 50 == 0 { #expect(y.allSatisfy { $0 == Float(round) }) }
            }
        }
    }

    /// Threads sleep between calls that are far apart, and wake again.
    @Test func sleepingThreadsWake() throws {
        let x = [Float](repeating: 1, count: 400_000)
        var y = [Float](repeating: 0, count: x.count)
        try withPool(threads: 3) { pool in
            for _ in 0..<5 {
                Thread.sleep(forTimeInterval: 0.02)  // longer than threads spin: what is tested
                deml_add(pool.pointer, x.count, x, &y)
            }
        }
        #expect(y.allSatisfy { $0 == 5 })
    }

    /// Scratch memory grows to what the largest call needs and then stays: nothing is allocated in steady state.
    @Test func scratchStopsGrowing() throws {
        let (batch, inputs, out) = (64, 300, 130)
        let x = [Float](repeating: 1, count: batch * inputs)
        let weights = [Float](repeating: 1, count: inputs * out)
        var y = [Float](repeating: 0, count: batch * out)
        var dx = x
        try withPool(threads: 2) { pool in
            func step() {
                deml_linear_forward(pool.pointer, batch, inputs, out, x, weights, nil, DEML_IDENTITY, &y)
                deml_linear_input_gradient(pool.pointer, batch, inputs, out, y, weights, &dx)
            }
            step()
            let bytes = deml_pool_scratch_bytes(pool.pointer)
            #expect(bytes > 0)
            for _ in 0..<10 { step() }
            #expect(deml_pool_scratch_bytes(pool.pointer) == bytes)
        }
    }
}
