import { useId } from "react";
import { KEYS } from "@/lib/settings";
import { Fault, Input } from "./Form";

type Props = {
  bpm: string;
  setBpm: (bpm: string) => void;
  step: number | "any";
  /** What stands where no tempo was given. */
  noBpm: string;
  tone: string;
  setTone: (tone: string) => void;
  /** The choice of no key. */
  noTone: string;
};

export function TempoAndKey({ bpm, setBpm, step, noBpm, tone, setTone, noTone }: Props) {
  const id = useId();
  return (
    <div className="row">
      <div>
        <label htmlFor={`${id}bpm`}>Tempo in bpm</label>
        <Input
          id={`${id}bpm`}
          type="number"
          min={30}
          max={300}
          step={step}
          placeholder={noBpm}
          value={bpm}
          onChange={(event) => setBpm(event.target.value)}
        />
        <Fault id={`${id}bpm`} />
      </div>
      <div>
        <label htmlFor={`${id}key`}>Key</label>
        <select id={`${id}key`} value={tone} onChange={(event) => setTone(event.target.value)}>
          <option value="">{noTone}</option>
          {KEYS.map((key) => (
            <option key={key}>{key}</option>
          ))}
        </select>
      </div>
    </div>
  );
}
