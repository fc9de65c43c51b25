// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {RoundResults} from "./RoundResults.sol";
import {IMemberRegistry} from "./interfaces/IMemberRegistry.sol";
import {IRoundLedger, RoundResult} from "./interfaces/IRoundLedger.sol";

/// @title RoundLedger
/// @dev What every function promises is written in IRoundLedger.sol.
contract RoundLedger is IRoundLedger, EIP712 {
    /* CONSTANTS AND IMMUTABLES */

    /// @inheritdoc IRoundLedger
    string public constant VERSION = "1.0.0";

    uint8 private constant LAST_KIND = 2;
    uint8 private constant SETTLED = 1;
    uint8 private constant ABANDONED = 2;
    uint256 private constant SCORE_BYTES = 8;
    uint256 private constant SIGNATURE_BYTES = 64;

    /// @inheritdoc IRoundLedger
    IMemberRegistry public immutable registry;

    /* STORAGE */

    /// @inheritdoc IRoundLedger
    mapping(uint64 round => bytes32) public resultDigest;

    // One entry a round, so its length is the next round; six entries share a slot.
    uint40[] private _recordedAt;

    /* CONSTRUCTOR */

    /// @param registry_ The registry, deployed before, that names this contract's address as its ledger.
    constructor(IMemberRegistry registry_) EIP712("Mycelia", "1") {
        if (address(registry_).code.length == 0) revert NoRegistry(address(registry_));
        address named = registry_.ledger();
        if (named != address(this)) revert NotTheLedger(named);
        registry = registry_;
    }

    /* ACTIONS */

    /// @inheritdoc IRoundLedger
    function submitRound(
        RoundResult calldata result,
        bytes calldata scores,
        uint256 signers,
        bytes calldata signatures
    ) external {
        _checkSequence(result);
        (address[] memory keys, uint256 needed) = _roster(result.config);
        uint256 active = (1 << keys.length) - 1;
        _checkOutcome(result, active);
        _checkScores(result.scores, scores, keys.length);
        _checkSigners(signers, signatures.length, active, needed);
        bytes32 digest = RoundResults.hash(result);
        _checkSignatures(_hashTypedDataV4(digest), signers, signatures, keys);

        resultDigest[result.round] = digest;
        _recordedAt.push(uint40(block.timestamp));
        emit RoundRecorded(result.round, digest, result, scores, signers, signatures);
    }

    /* VIEWS */

    /// @inheritdoc IRoundLedger
    function nextRound() public view returns (uint64) {
        return uint64(_recordedAt.length);
    }

    /// @inheritdoc IRoundLedger
    function recordedAt(uint64 round) external view returns (uint64) {
        return round < _recordedAt.length ? _recordedAt[round] : 0;
    }

    /// @inheritdoc IRoundLedger
    function hashResult(RoundResult calldata result) external pure returns (bytes32) {
        return RoundResults.hash(result);
    }

    /// @inheritdoc IRoundLedger
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /* INTERNAL */

    function _checkSequence(RoundResult calldata result) private view {
        uint64 next = nextRound();
        if (result.round != next) revert RoundOutOfSequence(next, result.round);
        bytes32 last = next == 0 ? bytes32(0) : resultDigest[next - 1];
        if (result.previous != last) revert PreviousMismatch(last, result.previous);
    }

    /// @dev The signers by roster index, and the quorum, of the roster that has this digest.
    function _roster(bytes32 config) private view returns (address[] memory keys, uint256 needed) {
        bytes memory code = registry.rosterCode().code;
        bytes32 current = keccak256(code);
        if (config != current) revert ConfigMismatch(current, config);
        (,,, keys, needed,) = abi.decode(code, (uint256, address, uint64, address[], uint256, bytes32));
    }

    function _checkOutcome(RoundResult calldata result, uint256 active) private pure {
        if (result.kind > LAST_KIND) revert UnknownKind(result.kind);
        if (result.outcome != SETTLED && result.outcome != ABANDONED) revert UnknownOutcome(result.outcome);
        bool coherent = result.outcome == SETTLED ? result.dealers != 0 : result.deals == 0;
        if (!coherent) revert DealersContradictOutcome(result.outcome, result.dealers, result.deals);
        if (result.dealers & ~active != 0) revert DealersOutsideRoster(result.dealers, active);
    }

    function _checkScores(bytes32 expected, bytes calldata scores, uint256 count) private pure {
        bytes32 found = scores.length == 0 ? bytes32(0) : keccak256(scores);
        if (found != expected) revert ScoresMismatch(expected, found);
        uint256 length = scores.length == 0 ? 0 : SCORE_BYTES * count;
        if (scores.length != length) revert ScoresLengthMismatch(length, scores.length);
    }

    function _checkSigners(uint256 signers, uint256 length, uint256 active, uint256 needed) private pure {
        if (signers & ~active != 0) revert SignersOutsideRoster(signers, active);
        uint256 count;
        for (uint256 rest = signers; rest != 0; rest &= rest - 1) ++count;
        if (count < needed) revert QuorumNotReached(needed, count);
        if (length != SIGNATURE_BYTES * count) revert SignaturesLengthMismatch(SIGNATURE_BYTES * count, length);
    }

    function _checkSignatures(bytes32 signed, uint256 signers, bytes calldata signatures, address[] memory keys)
        private
        pure
    {
        uint256 start;
        for (uint256 index; index < keys.length; ++index) {
            if ((signers >> index) & 1 == 0) continue;
            bytes calldata signature = signatures[start:start + SIGNATURE_BYTES];
            // What recovery refuses, a mirrored s among it, gives the zero address, which is nobody's signer.
            (address signer,,) = ECDSA.tryRecover(signed, bytes32(signature[:32]), bytes32(signature[32:]));
            if (signer != keys[index]) revert InvalidSignature(index);
            start += SIGNATURE_BYTES;
        }
    }
}
